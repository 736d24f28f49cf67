package sfu

import "time"

// Limits of the data plane. Every queue, ring and table that the network can
// fill is bounded by one of them.
const (
	// maxPacketSize is the largest RTP or RTCP packet taken in, in bytes.
	maxPacketSize = 1600
	// smallPacketSize is the largest packet kept in a small buffer: audio.
	smallPacketSize = 320
	// maxControlSize is the largest RTCP datagram we send, in bytes: with all
	// headers it fits every path that IPv6 allows.
	maxControlSize = 1100
	// poolDepth is how many free buffers of each size the pool keeps; more are
	// left to the garbage collector.
	poolDepth = 4096

	// inboundDepth is how many packets may wait for a transport's worker. At
	// 5 Mbit/s it is four seconds: a worker that far behind can't catch up.
	inboundDepth = 2048
	// peekReads is how often Pion may read the first packet of a stream. It
	// peeks up to eleven times to learn the mid and rid of an undeclared SSRC.
	peekReads = 12
	// maxStreams is how many SSRCs one session may send.
	maxStreams = 64
	// maxBuffers is how many SSRCs one session may name in all, RTP and RTCP
	// counted apart. A call of twelve has a hundred.
	maxBuffers = 1024

	// videoRingSize and audioRingSize bound the retransmission cache of a
	// stream, in packets; ringMaxAge bounds it in time.
	videoRingSize = 1024
	audioRingSize = 256
	ringMaxAge    = 2 * time.Second

	// A newcomer is served from the cache when the last keyframe is at most
	// this old and what followed it at most this long: all of it is sent at
	// once, and should not be more than a keyframe asked for would be.
	primeMaxAge   = time.Second
	primeMaxBytes = 64 << 10
	primeMaxCount = videoRingSize / 2

	// maxGap is the largest hole in sequence numbers that is taken for loss.
	// After a larger one the stream begins anew, without a hole.
	maxGap = 512

	// nackTolerance and nackReorder are how long, or how many later packets, a
	// missing packet may be out of order before it is asked for.
	nackTolerance = 20 * time.Millisecond
	nackReorder   = 3
	// nackMinInterval is the least time between two requests for one packet;
	// with a longer round trip it is 1.2 of that.
	nackMinInterval = 60 * time.Millisecond
	// nackMaxRequests is how often one packet is asked for, ever.
	nackMaxRequests = 3
	// nackGiveUp is how long after its loss a packet is still of use.
	nackGiveUp = time.Second
	// nackMaxMissing is how many missing packets are remembered; nackBatch is
	// how many are asked for in one RTCP packet.
	nackMaxMissing = 512
	nackBatch      = 128

	// resendMinInterval is the least time between two transmissions of one
	// packet to one subscriber; with a longer round trip it is 3/4 of that.
	resendMinInterval = 20 * time.Millisecond
	// resendPatience is how long a packet that is asked for again waits for
	// feedback about its last transmission; with a longer round trip it is 1.5
	// of that. Clients give feedback every 50 to 250 ms.
	resendPatience = 250 * time.Millisecond
	// resendMaxWaiting is how many packets of one slot may wait for that.
	resendMaxWaiting = 256
	// A subscriber is trusted to ask only for what he lacks after so many
	// retransmissions and so long after the first.
	resendTrust      = 16
	resendTrustAfter = 2 * time.Second
	// feedbackSilence is how long no feedback comes from a subscriber who
	// gives none.
	feedbackSilence = time.Second

	// keyframeMinInterval is the least time between two keyframe requests to a
	// publisher; unanswered, it doubles up to keyframeMaxInterval.
	keyframeMinInterval = 500 * time.Millisecond
	keyframeMaxInterval = 4 * time.Second
	// keyframeAskInterval is the least time between two requests of one
	// subscriber that are heeded: he can't have received a keyframe, and lost
	// it, within less.
	keyframeAskInterval = 100 * time.Millisecond
	// keyframeSlowInterval is the least time between two keyframes asked for
	// because one subscriber could not be sent to.
	keyframeSlowInterval = 2 * time.Second

	// receiverReportInterval, senderReportInterval and feedbackInterval are
	// how often a transport sends RR, SR and TWCC feedback.
	receiverReportInterval = time.Second
	senderReportInterval   = time.Second
	feedbackInterval       = 80 * time.Millisecond
	// reportSlack is how much earlier an RR or SR goes out with what is sent
	// anyway, so that it needs no datagram of its own.
	reportSlack = feedbackInterval
	// feedbackWindow is how many numbers back arrivals are remembered for
	// feedback. It is a power of two. feedbackMost is how many packets one
	// message tells of: with two bytes for each it stays below maxControlSize.
	feedbackWindow = 1024
	feedbackMost   = 400
	// maxReportBlocks is what fits one RTCP report (RFC 3550, 6.4).
	maxReportBlocks = 31

	// sendHistory is how many sent packets are remembered for TWCC feedback.
	// It is a power of two.
	sendHistory = 2048
	// reportHistory is how many sent sender reports are remembered to measure
	// the round trip.
	reportHistory = 8

	// segmentHistory is how many stretches of a rewritten stream are
	// remembered, for late and asked-for packets.
	segmentHistory = 64

	// defaultRTT is assumed until one has been measured.
	defaultRTT = 100 * time.Millisecond
	// idlePoll is the longest a worker sleeps.
	idlePoll = time.Second
	// stalledSSRC is how long a stream must have been silent before another
	// SSRC on its m-line takes its place.
	stalledSSRC = time.Second
	// clockStep is by how much a publisher's wall clock may jump before its
	// mapping onto the server's is made anew.
	clockStep = 500 * time.Millisecond
)

// What one client may make the server do: so much at once and so much a
// second. What is beyond is dropped and counted.
const (
	// Packets resent on one slot.
	resendBurst = 200
	resendRate  = 500
	// Packets asked for on one slot: more than may be resent, since clients
	// ask again for what is on its way.
	nackBurst = 1000
	nackRate  = 2500
	// RTCP of one client, in units of controlCost: about 2000 small packets a second.
	// A client of a call of twelve sends at most a fifth of that.
	controlBurst = 256 << 10
	controlRate  = 256 << 10
	// controlPacketCost is the cost of one RTCP packet beside its bytes.
	controlPacketCost = 96
	// maxStatuses is how many packets one feedback message may speak of.
	maxStatuses = 4 * sendHistory
	// Payload bytes sent to one subscriber out of caches, all slots together.
	// Who joins a call of twelve takes eleven tracks: eleven bursts at once
	// would fill the queue of a weak downlink for seconds. What does not fit
	// waits for a keyframe, as if nothing had been cached.
	startBurst = 128 << 10
	startRate  = 128 << 10
)
