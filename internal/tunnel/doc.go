// Package tunnel carries media through a WebSocket: the last rung of the ladder,
// for networks whose proxy lets nothing but HTTP through. It is a leaf.
//
// A page that can't reach the server by ICE encodes its microphone and camera
// itself and sends the frames over GET /ws/media. The other end is a [Server]:
// for each such page it runs a WebRTC client inside the process, the peer,
// which makes the offer in the page's place. Its packets never meet a socket:
// they go through the media port's own mux, as those of the closed TURN relay
// do. So to the SFU, the recorder and the journal a tunnelled participant is
// one like any other.
//
//	page ──frames──► socket ──► uplink ──RTP/SRTP──► SFU
//	page ◄─frames── queue ◄── downlink ◄─RTP/SRTP── SFU
//
// TCP turns loss into delay. What keeps delay bounded is that little is ever on
// its way: each side tells how many bytes it has got (see flight), the sender
// stops sending pictures when too much is out for too long, and queue throws
// away what has become old: pictures to the next keyframe, sound by age.
//
// docs/reference/protocol.md has the protocol, docs/adr/0007 the reasons and
// what was measured. [Dial] is a client for tests and the network lab.
package tunnel
