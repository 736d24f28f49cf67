// Package turn is the TURN and STUN server (RFC 8656, RFC 8489) on top of
// pion/turn v5, with a closed relay: an allocation is a virtual peer inside
// this process and reaches the SFU's own media addresses, by IP and port, and
// nothing else. With [Config.Open] it is an open relay: an allocation is a UDP
// port, and reaches public addresses. DESIGN.md beside this file says why.
//
// Credentials are ephemeral (draft-uberti-behave-turn-rest-00): the username is
// "expiry:id", the password an HMAC of it. See [Mint] for the two kinds of id.
//
// The package imports nothing of ours. What the closed relay is made of comes in
// as [Config.OpenRelay].
package turn
