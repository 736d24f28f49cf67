package bot

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"consilium/internal/media"
	"consilium/internal/testmedia"
	"consilium/internal/tunnel"
	"consilium/signaling"
)

// Tunnelled is a participant whose media goes through the WebSocket: what a
// page is behind a proxy that lets only HTTP through. It has what tests of such
// a network need and no more: it does not resume, and has a fixed number of
// seats. All methods may be called from any goroutine.
type Tunnelled struct {
	cfg     Config
	onFrame func(participant string, f tunnel.Frame, at time.Time)
	link    *link // of the reader, of report and of Close; mu is held
	client  *tunnel.Client
	welcome signaling.Welcome
	lines   tunnel.Lines
	stop    context.CancelFunc
	wg      sync.WaitGroup

	mu     sync.Mutex
	seats  signaling.Seats
	frames map[string]uint64 // by participant and source
	came   chan struct{}     // closed, and made anew, with each frame
	asked  map[uint16]bool   // lines of which the server wants a keyframe
	err    error
}

// JoinTunnel joins with the media of a tunnel. Of cfg it uses URL, Token,
// Consent, Publish (camera and microphone), Clips, Start, Persons, Screens,
// Proxy and TLS. onFrame, which may be nil, gets every frame, from the
// goroutine that reads the socket. Close ends it all.
func JoinTunnel(ctx context.Context, cfg Config, onFrame func(participant string, f tunnel.Frame, at time.Time)) (*Tunnelled, error) {
	b, err := New(cfg) // for the defaults
	if err != nil {
		return nil, err
	}
	t := &Tunnelled{cfg: b.cfg, onFrame: onFrame, link: b.link, frames: map[string]uint64{}, came: make(chan struct{}), asked: map[uint16]bool{}}
	reply, err := t.link.open(ctx, "hello", signaling.Hello{
		Token: cfg.Token, Rejoin: cfg.Rejoin, Consent: b.cfg.Consent, Client: signaling.ClientInfo{UserAgent: "consilium-bot tunnel", Lang: "en"},
	})
	if err == nil {
		err = json.Unmarshal(reply.Body, &t.welcome)
	}
	if err != nil {
		t.link.close()
		return nil, fmt.Errorf("join: %w", err)
	}
	run, cancel := context.WithCancel(context.Background())
	t.stop = cancel
	conn := t.link.conn
	t.wg.Go(func() { t.read(conn) })
	if err := t.open(ctx); err != nil {
		t.Close()
		return nil, err
	}
	for _, line := range t.lines.Sources {
		clip, err := b.clip(media.Source(line.Source))
		if err != nil {
			t.Close()
			return nil, err
		}
		mid, _ := strconv.ParseUint(line.MID, 10, 16)
		t.wg.Go(func() { t.play(run, uint16(mid), clip) })
	}
	t.wg.Go(func() { t.report(run) })
	return t, nil
}

// open opens the media socket.
func (t *Tunnelled) open(ctx context.Context) (err error) {
	wanted := tunnel.Wanted{Persons: max(0, t.cfg.Persons), Screens: max(0, t.cfg.Screens)}
	for _, source := range t.cfg.Publish {
		wanted.Sources = append(wanted.Sources, tunnel.Source{Source: string(source), Active: true})
	}
	var proxy func(*http.Request) (*url.URL, error)
	if t.cfg.Proxy != nil {
		proxy = http.ProxyURL(t.cfg.Proxy)
	}
	t.client, t.lines, err = tunnel.Dial(ctx, tunnel.DialConfig{
		URL: t.cfg.URL, TLS: t.cfg.TLS, Proxy: proxy,
		Open:    tunnel.Open{Session: t.welcome.Session, Secret: t.welcome.Secret, Wanted: wanted},
		OnFrame: t.frame, OnKeyframe: t.keyframe,
	})
	return err
}

// Session is the id of the session.
func (t *Tunnelled) Session() string { return t.welcome.Session }

// frame counts a frame of the server.
func (t *Tunnelled) frame(f tunnel.Frame) {
	at := time.Now()
	mid := strconv.Itoa(int(f.Line))
	t.mu.Lock()
	participant, source := "", ""
	for _, s := range t.seats.Seats {
		switch mid {
		case s.Audio:
			participant, source = s.Participant, string(media.Microphone)
		case s.Video:
			participant, source = s.Participant, string(media.Camera)
			if s.Audio == "" {
				source = string(media.Screen)
			}
		}
	}
	t.frames[participant+"/"+source]++
	close(t.came)
	t.came = make(chan struct{})
	t.mu.Unlock()
	if t.onFrame != nil {
		t.onFrame(participant, f, at)
	}
}

// keyframe notes that the server wants one of a line.
func (t *Tunnelled) keyframe(mid string) {
	line, err := strconv.ParseUint(mid, 10, 16)
	if err != nil {
		return // of no line of ours
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked[uint16(line)] = true
}

// wanted reports, once, whether the server asked for a keyframe of a line.
func (t *Tunnelled) wanted(line uint16) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	wanted := t.asked[line]
	delete(t.asked, line)
	return wanted
}

// WaitFrames returns when n frames of a source of a participant have come.
func (t *Tunnelled) WaitFrames(ctx context.Context, participant string, source media.Source, n uint64) error {
	for {
		t.mu.Lock()
		got, came, err := t.frames[participant+"/"+string(source)], t.came, t.err
		t.mu.Unlock()
		if got >= n {
			return nil
		}
		select {
		case <-came:
		case <-t.client.Done():
			return fmt.Errorf("%d of %d frames of %s of %s: %w", got, n, source, participant, t.client.Err())
		case <-ctx.Done():
			return fmt.Errorf("%d of %d frames of %s of %s: %w (%v)", got, n, source, participant, ctx.Err(), err)
		}
	}
}

// read takes the messages of signalling until its socket is closed.
func (t *Tunnelled) read(conn *websocket.Conn) {
	for {
		var e signaling.Envelope
		err := conn.ReadJSON(&e)
		t.mu.Lock()
		if err == nil {
			_, err = t.link.accept(e)
		}
		if err == nil && e.Type == "seats" {
			err = json.Unmarshal(e.Body, &t.seats)
		}
		if err != nil {
			t.err = err
			t.mu.Unlock()
			return
		}
		t.link.acknowledge()
		t.mu.Unlock()
	}
}

// report tells the server what came, as a page tells what it decoded.
func (t *Tunnelled) report(ctx context.Context) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		t.mu.Lock()
		r := signaling.Report{Decoded: map[string]signaling.Decoded{}}
		for _, s := range t.seats.Seats {
			if s.VideoTrack != "" {
				r.Decoded[s.VideoTrack] = signaling.Decoded{Frames: t.frames[s.Participant+"/cam"]}
			}
			if s.AudioTrack != "" {
				r.Decoded[s.AudioTrack] = signaling.Decoded{Samples: 960 * t.frames[s.Participant+"/mic"]}
			}
		}
		_ = t.link.send("report", "", r) // fails only when the link is over
		t.mu.Unlock()
	}
}

// play sends a clip over and over. Frames are due on the common clock; a
// keyframe that was asked for is sent in place of the frame that is due, as an
// encoder would make one, and the clip goes on from there.
func (t *Tunnelled) play(ctx context.Context, line uint16, clip *testmedia.Clip) {
	codec := tunnel.VP8
	if clip.MimeType == testmedia.MimeOpus {
		codec = tunnel.Opus
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	asked := true // every frame of sound is a keyframe
	skip := false // to a keyframe
	ahead := 0    // frames of the clip's place before the clock
	for i := 0; ; i++ {
		slot := clip.Frames[i%len(clip.Frames)]
		due := t.cfg.Start.Add(time.Duration(i/len(clip.Frames))*clip.Duration + slot.At)
		if time.Since(due) > time.Second {
			continue // joins in at its place
		}
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		asked = t.wanted(line) || asked
		frame := clip.Frames[(i+ahead)%len(clip.Frames)]
		for ; asked && !frame.Keyframe; ahead++ {
			frame = clip.Frames[(i+ahead+1)%len(clip.Frames)]
		}
		asked = false
		if codec != tunnel.Opus {
			skip = (skip || t.client.Flight() > time.Second) && !frame.Keyframe
		}
		if skip {
			continue
		}
		at := time.Duration(due.UnixMicro()) * time.Microsecond
		if t.client.Send(tunnel.Frame{Line: line, Codec: codec, Key: frame.Keyframe, Time: at, Payload: frame.Data}) != nil {
			return // the socket is closed; Done tells
		}
	}
}

// Close leaves and waits for every goroutine.
func (t *Tunnelled) Close() {
	t.stop()
	t.mu.Lock()
	_ = t.link.send("leave", "", signaling.Empty{}) // as in report
	t.mu.Unlock()
	if t.client != nil {
		t.client.Close()
	}
	t.mu.Lock()
	t.link.close() // read may be acknowledging
	t.mu.Unlock()
	t.wg.Wait()
}
