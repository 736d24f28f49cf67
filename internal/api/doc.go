// Package api is the HTTP interface for programs: the REST API under /v1, the
// OpenAPI description, metrics and health. openapi.json, which is served, is
// its reference; docs/reference/http-api.md is the prose.
//
// The package knows HTTP and JSON. Calls, tokens, recordings and events are
// behind the interfaces of Config, so that every handler can be tested without
// a server; only internal/server puts the real ones in.
//
// A request goes: route table -> who asks -> (POST: Idempotency-Key) -> strict
// decoding -> handler. A handler returns an error, and one function decides
// its status (Of).
package api
