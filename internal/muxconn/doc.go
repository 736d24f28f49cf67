// Package muxconn is the UDP side of the media port: the socket that Pion's
// ice.UDPMuxDefault reads and writes, with a second, in-process way in for the
// closed TURN relay.
//
// A [Conn] is one UDP socket on one local address. A [Group] ties the Conns of
// a server together and opens virtual peers: a [Peer] is the relayed transport
// address of a TURN allocation (RFC 8656 section 2), but there is no socket
// behind it. What it sends goes straight into the reader of the Conn whose
// advertised address was named, and nowhere else; what the SFU sends to the
// peer's virtual address comes out of the peer. Virtual addresses are from
// the benchmarking ranges of RFC 2544 and RFC 5180 (198.18.0.0/15 and
// 2001:2::/48), which are never routed; datagrams that arrive on the real
// socket with such a source are forged and are dropped.
//
// The package is a leaf: it imports nothing of ours.
package muxconn
