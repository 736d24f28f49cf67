package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/config"
	"consilium/internal/media"
	"consilium/internal/testmedia"
	"consilium/internal/tunnel"
	"consilium/signaling"
)

// joinTunnel joins a bot through the WebSocket until the test ends.
func (i *instance) joinTunnel(room, identity string, role auth.Role) *bot.Tunnelled {
	i.t.Helper()
	b, err := bot.JoinTunnel(within(i.t, 10*time.Second), bot.Config{URL: i.URL, Token: i.token(room, identity, role)}, nil)
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(b.Close)
	return b
}

func TestTunnelledParticipantSeesAndIsSeen(t *testing.T) {
	s := start(t, nil)
	doctor := s.join("room", "doctor", auth.RoleDoctor, nil)
	patient := s.joinTunnel("room", "patient", auth.RolePatient)
	ctx := within(t, 20*time.Second)
	for _, source := range []media.Source{media.Microphone, media.Camera} {
		if err := doctor.WaitFrames(ctx, "patient", source, 20); err != nil {
			t.Errorf("doctor gets no %s: %v", source, err)
		}
		if err := patient.WaitFrames(ctx, "doctor", source, 20); err != nil {
			t.Errorf("patient gets no %s: %v", source, err)
		}
	}
	if got := s.tunnel.Stats().Open; got != 1 {
		t.Errorf("%d tunnels are open, want 1", got)
	}
}

// signalled joins by signalling alone, and returns what opens the tunnel.
func (i *instance) signalled(room, identity string) tunnel.Open {
	i.t.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{signaling.Subprotocol}}
	ws, _, err := dialer.DialContext(within(i.t, 10*time.Second), "ws"+i.URL[4:]+"/ws", nil)
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() { _ = ws.Close() })
	hello, err := json.Marshal(signaling.Hello{
		Token: i.token(room, identity, auth.RolePatient), Consent: &signaling.Consent{Recording: true, Text: "test", Lang: "en"},
	})
	if err != nil {
		i.t.Fatal(err)
	}
	var reply signaling.Envelope
	if err := errors.Join(ws.WriteJSON(signaling.Envelope{Type: "hello", Body: hello}), ws.ReadJSON(&reply)); err != nil {
		i.t.Fatal(err)
	}
	var w signaling.Welcome
	if err := json.Unmarshal(reply.Body, &w); err != nil || reply.Type != "welcome" {
		i.t.Fatalf("hello is answered with %s %s", reply.Type, reply.Body)
	}
	return tunnel.Open{Session: w.Session, Secret: w.Secret}
}

// refusedWith dials and returns the code of the refusal.
func (i *instance) refusedWith(open tunnel.Open) string {
	i.t.Helper()
	c, _, err := tunnel.Dial(within(i.t, 10*time.Second), tunnel.DialConfig{URL: i.URL, Open: open})
	if err == nil {
		c.Close()
		return ""
	}
	refused, ok := errors.AsType[*tunnel.Refused](err)
	if !ok {
		i.t.Fatalf("not refused in words: %v", err)
	}
	return refused.Code
}

func TestTunnelIsRefusedToWhoHasNoSession(t *testing.T) {
	s := start(t, nil)
	open := s.signalled("room", "patient")
	for name, c := range map[string]struct {
		open tunnel.Open
		want string
	}{
		"no session":      {tunnel.Open{Secret: open.Secret}, "session_unknown"},
		"another secret":  {tunnel.Open{Session: open.Session, Secret: open.Secret + "x"}, "TOKEN_BAD"},
		"no secret":       {tunnel.Open{Session: open.Session}, "TOKEN_BAD"},
		"too many seats":  {tunnel.Open{Session: open.Session, Secret: open.Secret, Wanted: tunnel.Wanted{Persons: 1000}}, "bad_message"},
		"unknown sources": {tunnel.Open{Session: open.Session, Secret: open.Secret, Wanted: tunnel.Wanted{Sources: []tunnel.Source{{Source: "x"}}}}, "bad_message"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := s.refusedWith(c.open); got != c.want {
				t.Errorf("refused with %q, want %q", got, c.want)
			}
		})
	}
}

func TestTunnelsAreBounded(t *testing.T) {
	s := start(t, func(c *config.Config) { c.Media.Tunnel.MaxSessions = 1 })
	s.joinTunnel("room", "first", auth.RoleDoctor)
	_, err := bot.JoinTunnel(within(t, 10*time.Second), bot.Config{URL: s.URL, Token: s.token("room", "second", auth.RolePatient)}, nil)
	if refused, ok := errors.AsType[*tunnel.Refused](err); !ok || refused.Code != "SERVER_BUSY" || refused.Retry == 0 {
		t.Errorf("the second gets %v, want SERVER_BUSY", err)
	}
}

func TestTunnelThatIsOffIsNotThere(t *testing.T) {
	s := start(t, func(c *config.Config) { c.Media.Tunnel.Enabled = false })
	response, err := http.Get(s.URL + "/ws/media")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("status %d, want 404", response.StatusCode)
	}
	b := s.join("room", "doctor", auth.RoleDoctor, nil)
	if err := b.WaitConnected(within(t, 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	if after := b.Snapshot().Welcome.Limits.TunnelAfter; after != 0 {
		t.Errorf("clients are told to use it after %v s", after)
	}
}

// slowPipe passes TCP on to a server, and what comes from it at a bounded rate.
func slowPipe(t *testing.T, to string, bytes int) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	serve := func(client net.Conn) {
		defer client.Close()
		server, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer server.Close()
		_ = server.(*net.TCPConn).SetReadBuffer(16 << 10)
		_ = client.(*net.TCPConn).SetWriteBuffer(16 << 10)
		stop := context.AfterFunc(ctx, func() { _ = server.Close(); _ = client.Close() })
		defer stop()
		wg.Go(func() { _, _ = io.Copy(server, client); _ = server.Close() })
		limiter := rate.NewLimiter(rate.Limit(bytes), 4096)
		buf := make([]byte, 2048)
		for {
			n, err := server.Read(buf)
			if err != nil || limiter.WaitN(ctx, n) != nil {
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serve(c) })
		}
	})
	t.Cleanup(func() { cancel(); _ = l.Close(); wg.Wait() })
	return "http://" + l.Addr().String()
}

func TestASlowSocketGetsSoundInTimeAndPicturesFromKeyframes(t *testing.T) {
	large, err := testmedia.LargeCamera()
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, nil)
	s.join("room", "doctor", auth.RoleDoctor, func(c *bot.Config) {
		c.Clips = map[media.Source]*testmedia.Clip{media.Camera: large}
	})
	// A third of what the picture takes, and no more than sound and a little.
	pipe := slowPipe(t, s.Address(), 16_000)
	var mu sync.Mutex
	var delays []time.Duration
	var last time.Duration
	gaps, broken := 0, 0
	onFrame := func(_ string, f tunnel.Frame, at time.Time) {
		mu.Lock()
		defer mu.Unlock()
		if f.Codec == tunnel.Opus {
			delays = append(delays, time.Duration(at.UnixNano())-f.Time)
			return
		}
		if last != 0 && f.Time-last > 100*time.Millisecond { // of 15 pictures a second at least one is missing
			gaps++
			if !f.Key {
				broken++
			}
		}
		last = f.Time
	}
	patient, err := bot.JoinTunnel(within(t, 10*time.Second), bot.Config{
		URL: pipe, Token: s.token("room", "patient", auth.RolePatient), Publish: []media.Source{media.Microphone},
	}, onFrame)
	if err != nil {
		t.Fatal(err)
	}
	defer patient.Close()
	if err := patient.WaitFrames(within(t, 30*time.Second), "doctor", media.Microphone, 400); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(delays)
	median, worst := delays[len(delays)/2], delays[len(delays)*95/100]
	t.Logf("sound is %v late, 95 of 100 within %v; %d gaps in the picture; dropped %v", median, worst, gaps, s.tunnel.Stats().Dropped)
	if worst > 1500*time.Millisecond {
		t.Errorf("sound is up to %v late", worst)
	}
	if gaps == 0 || broken > 0 {
		t.Errorf("%d gaps in the picture, %d of them go on without a keyframe", gaps, broken)
	}
}

func TestTunnelGoesOnOnTheNextSocket(t *testing.T) {
	s := start(t, nil)
	open := s.signalled("room", "patient")
	open.Wanted = tunnel.Wanted{Sources: []tunnel.Source{{Source: "mic", Active: true}}, Persons: 1}
	dial := func() (*tunnel.Client, tunnel.Lines) {
		t.Helper()
		c, lines, err := tunnel.Dial(within(t, 10*time.Second), tunnel.DialConfig{URL: s.URL, Open: open})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c, lines
	}
	first, before := dial()
	second, after := dial()
	select {
	case <-first.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the first socket stays open")
	}
	if len(after.Seats) != 1 || !reflect.DeepEqual(before, after) {
		t.Errorf("m-lines were %v and are %v", before, after)
	}
	more, err := second.Want(within(t, 10*time.Second), tunnel.Wanted{Sources: open.Sources, Persons: 3})
	if err != nil || len(more.Seats) != 3 || more.Seats[0] != before.Seats[0] {
		t.Errorf("more seats: %v, %v", more, err)
	}
	if x := s.tunnel.Stats(); x.Open != 1 || x.Opened != 1 || x.TakenOver != 1 {
		t.Errorf("tunnels: %+v", x)
	}
}

func TestASocketThatSendsNonsenseIsClosedInWords(t *testing.T) {
	s := start(t, nil)
	for name, send := range map[string]func(*websocket.Conn) error{
		"a frame of another version": func(ws *websocket.Conn) error {
			return ws.WriteMessage(websocket.BinaryMessage, make([]byte, 40))
		},
		"no JSON":      func(ws *websocket.Conn) error { return ws.WriteMessage(websocket.TextMessage, []byte("{")) },
		"unknown type": func(ws *websocket.Conn) error { return ws.WriteJSON(tunnel.Message{Type: "dance"}) },
		"open again": func(ws *websocket.Conn) error {
			return ws.WriteJSON(tunnel.Message{Type: "open", Body: []byte("{}")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			open := s.signalled("room", "patient")
			body, err := json.Marshal(open)
			if err != nil {
				t.Fatal(err)
			}
			dialer := websocket.Dialer{Subprotocols: []string{tunnel.Subprotocol}}
			ws, _, err := dialer.DialContext(within(t, 10*time.Second), "ws://"+s.Address()+"/ws/media", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer ws.Close()
			if err := errors.Join(ws.WriteJSON(tunnel.Message{Type: "open", Body: body}), send(ws), ws.SetReadDeadline(time.Now().Add(10*time.Second))); err != nil {
				t.Fatal(err)
			}
			for {
				var m tunnel.Message
				if err := ws.ReadJSON(&m); err != nil {
					t.Fatalf("closed without a word: %v", err)
				}
				if m.Type == "error" {
					break
				}
			}
			if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.ClosePolicyViolation) {
				t.Errorf("it ends with %v, want close code 1008", err)
			}
		})
	}
}
