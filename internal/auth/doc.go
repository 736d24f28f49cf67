// Package auth decides who may do what: it verifies and mints the tokens people
// join with and the credentials of the HTTP API. docs/reference/tokens.md is
// its prose.
//
// A token is a JWT (RFC 7519) signed with a key of ours (HS256) or of the
// medical information system (ES256 or EdDSA); its `iss` names the key. Which
// algorithm a key takes follows from the key, never from the token, so neither
// `alg: none` nor a public key passed off as a secret gets anywhere (RFC 8725).
//
// The package knows nothing of rooms, sockets or calls. It is a leaf: it
// imports only the leaves internal/config and internal/event.
package auth
