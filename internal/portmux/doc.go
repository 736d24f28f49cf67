// Package portmux shares one TCP port between HTTP, TURN (RFC 8656 section
// 2.1), ICE-TCP (RFC 6544, framed as in RFC 4571) and TLS, told apart by the
// first bytes a client sends. Inside TLS the bytes are looked at again, so
// that one certificate serves HTTPS and TURN over TLS; ALPN is never used for
// routing, for browsers do not agree on it.
//
// A connection is undecided until its first bytes have come. It may stay so
// for a limited time, and one address may have a limited number of them: who
// connects and says nothing, or says it byte by byte, costs little and not
// for long.
//
// The package is a leaf: it imports nothing of ours.
package portmux
