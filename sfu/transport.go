package sfu

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/transport/v5/packetio"

	"consilium/internal/media"
)

// transportConfig is what a transport needs.
type transportConfig struct {
	Log   *slog.Logger
	Pool  *packetPool
	Drops *dropCounters
	// WriteRTCP sends RTCP packets to the client. It is called from the
	// worker.
	WriteRTCP func([]rtcp.Packet) error
	// Overrun, which may be nil, is told that the client names more SSRCs than
	// any client has. Pion keeps a stream for each, for ever, so the owner
	// should close the connection. It is called from Pion's readers, again for
	// each further SSRC, and must not wait.
	Overrun func()
	// Now is the clock, time.Now when nil.
	Now func() time.Time
}

// transport is the data plane of one PeerConnection: it takes everything the
// client sends, and is the way out for everything he gets. One goroutine, run,
// owns what comes in.
type transport struct {
	cfg    transportConfig
	queue  *inboundQueue
	out    egress
	rtt    smoothedRTT
	clock  senderClock
	sender uint32 // SSRC of our feedback

	routes atomic.Pointer[routes]

	buffers atomic.Int64 // made for Pion

	mu      sync.Mutex // guards the writing of routes, and what follows
	downs   map[uint32]*downTrack
	downAll []*downTrack // the values of downs; made anew when they change

	// What follows belongs to run.
	router     router
	control    bucket          // RTCP of the client, in units of controlCost
	nacks      []rtcp.NackPair // of the NACK being read
	feedback   *feedbackBuilder
	nextReport time.Time // receiver reports
	nextTWCC   time.Time // feedback is not sent before
	nextPoll   time.Time
	outbox     []rtcp.Packet // empty but while poll runs

	// dirty says that something wants to be polled before nextPoll. Set by
	// anybody.
	dirty atomic.Bool
}

func newTransport(cfg transportConfig) *transport {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	t := &transport{
		cfg:    cfg,
		queue:  newInboundQueue(cfg.Pool, cfg.Drops, cfg.Now),
		sender: rand.Uint32(),
		downs:  map[uint32]*downTrack{},
		router: newRouter(),
	}
	t.feedback = newFeedbackBuilder(t.sender, cfg.Now())
	t.routes.Store(&routes{})
	return t
}

// bufferFactory is for webrtc.SettingEngine.BufferFactory: Pion calls it once
// for the RTP and once for the RTCP of every SSRC, also of those that only a
// packet names. From maxBuffers on what is written to them is dropped.
func (t *transport) bufferFactory(kind packetio.BufferPacketType, ssrc uint32) io.ReadWriteCloser {
	b := newTapBuffer(t.queue, kind, ssrc)
	if t.buffers.Add(1) <= maxBuffers {
		return b
	}
	b.closed = true
	t.cfg.Drops.add(dropStreams)
	if t.cfg.Overrun != nil {
		t.cfg.Overrun()
	}
	return b
}

// setLines replaces what is known about the m-lines on which the client sends.
// It is called after each negotiation, before the answer is given away. Safe
// for concurrent use.
func (t *transport) setLines(lines []upLine) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := t.routes.Load().clone()
	next.lines = make(map[string]*upLine, len(lines))
	for _, l := range lines {
		next.lines[l.MID] = &l
	}
	t.routes.Store(next)
}

// publish announces a track on an m-line; another one there must have ended.
// Sinks attached to it before its first packet get the first packet. Safe for
// concurrent use.
func (t *transport) publish(mid string, about media.Track) *upTrack {
	u := newUpTrack(t, mid, about)
	t.mu.Lock()
	defer t.mu.Unlock()
	next := t.routes.Load().clone()
	if next.tracks == nil {
		next.tracks = map[string]*upTrack{}
	}
	next.tracks[mid] = u
	t.routes.Store(next)
	return u
}

// unpublish takes a track off its m-line.
func (t *transport) unpublish(u *upTrack) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := t.routes.Load().clone()
	if next.tracks[u.mid] == u {
		delete(next.tracks, u.mid)
		t.routes.Store(next)
	}
}

// bind makes d the receiver of RTCP about an SSRC, unbind ends that.
func (t *transport) bind(ssrc uint32, d *downTrack) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.downs[ssrc] = d
	t.downAll = slices.Collect(maps.Values(t.downs))
}

func (t *transport) unbind(ssrc uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.downs, ssrc)
	t.downAll = slices.Collect(maps.Values(t.downs))
}

func (t *transport) down(ssrc uint32) *downTrack {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.downs[ssrc]
}

// allDowns returns the slots bound now. The slice must not be changed.
func (t *transport) allDowns() []*downTrack {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.downAll
}

// connected says that the client can be sent to from now on. What he takes is
// served from the cache at once. It may be called more than once.
func (t *transport) connected() {
	for _, d := range t.allDowns() {
		d.restart()
	}
}

// pathStats are the figures of the way to and from the client.
type pathStats struct {
	egressStats
	RTT time.Duration // 0 when not measured yet
}

func (t *transport) stats() pathStats {
	rtt, _ := t.rtt.value()
	return pathStats{egressStats: t.out.stats(), RTT: rtt}
}

// run is the worker. It returns when ctx ends; packets that come later are
// dropped. Tracks must be ended by their owner.
func (t *transport) run(ctx context.Context) error {
	defer t.queue.close()
	timer := time.NewTimer(idlePoll)
	defer timer.Stop()
	var batch []inbound
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.queue.ready:
		case <-timer.C:
		}
		batch = t.queue.take(batch)
		t.router.update(t.routes.Load())
		for i := range batch {
			t.handle(&batch[i])
		}
		clear(batch)
		now := t.cfg.Now()
		if t.dirty.Swap(false) || !now.Before(t.nextPoll) {
			t.nextPoll = t.poll(now)
		}
		timer.Reset(max(t.nextPoll.Sub(now), time.Millisecond))
	}
}

// nudge makes the worker poll soon.
func (t *transport) nudge() {
	if !t.dirty.Swap(true) {
		t.queue.wake()
	}
}

// handle takes one packet, and releases it.
func (t *transport) handle(in *inbound) {
	if in.rtcp {
		t.handleRTCP(in)
	} else {
		t.handleRTP(in)
	}
	in.pooled.packet.Release()
}

// handleRTP finds the track of a packet.
func (t *transport) handleRTP(in *inbound) {
	p, b := in.pooled.packet, in.pooled.buf
	n, err := p.Header.Unmarshal(b)
	if err != nil || p.Header.Version != 2 || n > len(b) {
		t.cfg.Drops.add(dropMalformed)
		return
	}
	p.Arrival = in.at
	s, why := t.router.find(&p.Header)
	if why != dropReasons {
		t.cfg.Drops.add(why)
		return
	}
	if s.line.TWCCExt != 0 {
		if number := p.Header.GetExtension(s.line.TWCCExt); number != nil {
			t.recordTWCC(p.Header.SSRC, number, in.at)
		}
	}
	payload, ok := trimPadding(b[n:], p.Header.Padding)
	if !ok {
		t.cfg.Drops.add(dropMalformed)
		return
	}
	p.Payload = payload
	u := t.router.routes.tracks[s.line.MID]
	if u == nil {
		t.cfg.Drops.add(dropUnpublished)
		return
	}
	u.receive(p, s)
}
