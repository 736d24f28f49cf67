// Package signaling is the message protocol between a client and the server,
// and WHIP and WHEP beside it. It knows sessions and their resume; it knows no
// files and not how HTTP is wired.
//
// # Who owns what
//
//	HTTP handler goroutine   reads one socket (conn.go), decodes (decode.go),
//	                         hands requests to the session and stops there
//	writer goroutine         one a socket: the only one that writes (conn.go)
//	session loop             one a session: numbering, replies, timers (session.go)
//	session worker           one a session: calls into the SFU, in order (worker.go)
//
// A session outlives its sockets. Everything on the way is bounded: the queue
// to the writer, the replay buffer and the stored replies (resume.go), the
// notices of the SFU (notices.go), the worker's requests.
//
// docs/reference/protocol.md is the protocol in prose, messages.go in Go.
package signaling
