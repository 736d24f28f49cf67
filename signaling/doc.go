// Package signaling is the message protocol between a client and the server,
// and WHIP and WHEP beside it. It knows sessions and their resume; it knows no
// files and not how HTTP is wired.
package signaling
