package sfu

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"

	"consilium/internal/event"
	"consilium/internal/media"
)

// history remembers values in order and lets a test wait for one.
type history[T any] struct {
	mu    sync.Mutex
	all   []T
	grown chan struct{} // closed and renewed when something is added
}

func newHistory[T any]() *history[T] { return &history[T]{grown: make(chan struct{})} }

func (h *history[T]) add(v T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, v)
	close(h.grown)
	h.grown = make(chan struct{})
}

func (h *history[T]) list() []T {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all)
}

func (h *history[T]) count(match func(T) bool) (n int) {
	for _, v := range h.list() {
		if match(v) {
			n++
		}
	}
	return n
}

// wait returns the first value that matches.
func (h *history[T]) wait(t *testing.T, what string, match func(T) bool) T {
	t.Helper()
	return h.waitFor(t, 10*time.Second, what, match)
}

func (h *history[T]) waitFor(t *testing.T, patience time.Duration, what string, match func(T) bool) T {
	t.Helper()
	limit := time.After(patience)
	for {
		h.mu.Lock()
		grown := h.grown
		i := slices.IndexFunc(h.all, match)
		if i >= 0 {
			defer h.mu.Unlock()
			return h.all[i]
		}
		h.mu.Unlock()
		select {
		case <-grown:
		case <-limit:
			t.Fatalf("no %s among %d", what, len(h.list()))
		}
	}
}

func ofType(typ event.Type) func(event.Event) bool {
	return func(e event.Event) bool { return e.Type == typ }
}

// fakeRecorder arms when it may and remembers what came of it.
type fakeRecorder struct {
	gate  chan error // one value an attempt; closed: arms at once
	mu    sync.Mutex
	armed []*fakeRecording
}

func (r *fakeRecorder) Arm(ctx context.Context, _ media.Call) (Recording, error) {
	select {
	case err := <-r.gate:
		if err != nil {
			return nil, err
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := &fakeRecording{notes: newHistory[event.Event]()}
	r.armed = append(r.armed, rec)
	return rec, nil
}

func (r *fakeRecorder) ends() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range r.armed {
		rec.mu.Lock()
		n += rec.ends
		rec.mu.Unlock()
	}
	return n
}

type fakeRecording struct {
	notes *history[event.Event]
	mu    sync.Mutex
	ends  int
}

func (r *fakeRecording) Track(media.Track, func()) media.Sink { return newCollector() }
func (r *fakeRecording) Note(e event.Event)                   { r.notes.add(e) }
func (r *fakeRecording) End(time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ends++
}

// hospital is a server under test with what it emitted.
type hospital struct {
	*Server
	t      *testing.T
	events *history[event.Event]
	stop   func() // and wait for the end of Run
}

// open runs a server; its Network is for joins without media.
func open(t *testing.T, cfg Config) *hospital {
	t.Helper()
	h := &hospital{t: t, events: newHistory[event.Event]()}
	cfg.Events = event.Func(h.events.add)
	s, err := New(cfg)
	must(t, err)
	h.Server = s
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(h.stop)
	return h
}

// withMedia adds a UDP mux on loopback to a configuration.
func withMedia(t *testing.T, cfg Config) Config {
	t.Helper()
	loopback := netip.MustParseAddr("127.0.0.1")
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	must(t, err)
	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: conn})
	t.Cleanup(func() { _ = mux.Close() })
	cfg.Network = Network{UDP: mux, Addresses: []netip.Addr{loopback}}
	return cfg
}

// visitor is a session with what it was told.
type visitor struct {
	*Session
	t    *testing.T
	told *history[Notice]
	pc   *webrtc.PeerConnection
}

var (
	patientGrants = Grants{PublishAudio: true, PublishVideo: true, Subscribe: true}
	doctorGrants  = Grants{PublishAudio: true, PublishVideo: true, PublishScreen: true, Subscribe: true,
		Admit: true, Mute: true, Remove: true, End: true}
)

func asPatient(identity string) JoinRequest {
	return JoinRequest{Person: Person{Room: "room", Identity: identity, Role: "patient", Grants: patientGrants}}
}

func asDoctor(identity string) JoinRequest {
	return JoinRequest{Person: Person{Room: "room", Identity: identity, Role: "doctor", Grants: doctorGrants}}
}

func (h *hospital) join(req JoinRequest) *visitor {
	h.t.Helper()
	v := &visitor{t: h.t, told: newHistory[Notice]()}
	req.Notify = v.told.add
	var err error
	v.Session, err = h.Join(context.Background(), req)
	must(h.t, err)
	return v
}

// prepare makes the client's PeerConnection: m-lines that send, by kind, and
// then seats that receive.
func (v *visitor) prepare(seats int, sends ...webrtc.RTPCodecType) {
	v.t.Helper()
	v.pc = newClient(v.t)
	for _, kind := range sends {
		v.add(kind, webrtc.RTPTransceiverDirectionSendonly)
	}
	for range seats {
		v.add(webrtc.RTPCodecTypeAudio, webrtc.RTPTransceiverDirectionRecvonly)
		v.add(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverDirectionRecvonly)
	}
}

func (v *visitor) add(kind webrtc.RTPCodecType, d webrtc.RTPTransceiverDirection) {
	v.t.Helper()
	_, err := v.pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: d})
	must(v.t, err)
}

const (
	sound   = webrtc.RTPCodecTypeAudio
	picture = webrtc.RTPCodecTypeVideo
)

// offer makes an offer, for the server alone: the client takes no answer.
func (v *visitor) offer() Offer {
	v.t.Helper()
	o, err := v.pc.CreateOffer(nil)
	must(v.t, err)
	return Offer{SDP: o.SDP}
}

// negotiate offers, and takes the answer: media can flow.
func (v *visitor) negotiate(o Offer) {
	v.t.Helper()
	gathered := webrtc.GatheringCompletePromise(v.pc)
	d := webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: o.SDP}
	must(v.t, v.pc.SetLocalDescription(d))
	<-gathered
	o.SDP = v.pc.LocalDescription().SDP
	a, err := v.Offer(context.Background(), o)
	must(v.t, err)
	must(v.t, v.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: a.SDP}))
}

// show negotiates microphone and camera, and n seats.
func (v *visitor) show(seats int) {
	v.t.Helper()
	v.prepare(seats, sound, picture)
	v.negotiate(v.offer())
}

// seatsNow returns the seats by who sits there.
func (v *visitor) seatsNow() map[string]Seat {
	by := map[string]Seat{}
	for _, s := range v.Seats().Seats {
		if s.Session != "" {
			by[s.Participant] = s
		}
	}
	return by
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

func ended(n Notice) bool { _, ok := n.(NoticeEnded); return ok }
