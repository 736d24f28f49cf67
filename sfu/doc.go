// Package sfu forwards media: rooms, calls, participants, tracks, RTP and RTCP.
//
// It knows Pion; it knows no WebSocket, HTTP, file or token.
package sfu
