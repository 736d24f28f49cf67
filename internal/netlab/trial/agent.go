package trial

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"consilium/internal/bot"
	"consilium/internal/media"
	"consilium/internal/netlab"
)

const (
	// A connection is called disconnected after silentAfter without an answer,
	// about as in browsers, and ICE is restarted if it stays so for restartAfter.
	silentAfter  = 2500 * time.Millisecond
	restartAfter = 2 * time.Second
	// failedAfter is how much later it is given up, and checkPeriod how often
	// a silent path is checked.
	failedAfter = 10 * time.Second
	checkPeriod = time.Second
	// endPatience is how long leaving may take.
	endPatience = time.Second
	// rejoinPause lies between two attempts to join again.
	rejoinPause = 500 * time.Millisecond
	watchPeriod = 250 * time.Millisecond
)

// agentConfig is the first line that an agent reads.
type agentConfig struct {
	URL, Token string
	Other      string // identity of the other one, whose media counts
	Proxy      string // URL of an HTTP proxy
}

// Agent commands, each a line.
const (
	askStatus   = "status"  // answered by a Status in JSON
	netChanged  = "changed" // the operating system says that the network has changed
	sendNothing = "quiet"   // no RTP from here
	sendAgain   = "loud"
	leaveCall   = "leave"
)

// agent is a Pion client in a process of its own, since Pion opens sockets in
// whatever goroutine it likes and a namespace belongs to a thread. It does what
// the web client does when things go wrong.
type agent struct {
	cfg   agentConfig
	began time.Time
	wg    sync.WaitGroup

	mu     sync.Mutex
	bot    *bot.Bot
	before Status     // of earlier bots
	tunnel *tunnelled // instead of the bot, which has ended; nil: none
	err    error
}

// RunAgent is the whole of an agent process: configuration and commands come
// from in, answers go to out. It returns when in ends.
func RunAgent(ctx context.Context, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	if !lines.Scan() {
		return errors.New("agent: no configuration")
	}
	a := &agent{began: time.Now()}
	if err := json.Unmarshal(lines.Bytes(), &a.cfg); err != nil {
		return fmt.Errorf("agent: decode configuration: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer a.end()
	defer cancel()
	a.wg.Go(func() { a.stay(ctx) })
	a.wg.Go(func() { a.watch(ctx) })
	encoder := json.NewEncoder(out)
	for lines.Scan() {
		switch lines.Text() {
		case askStatus:
			if err := encoder.Encode(a.status()); err != nil {
				return fmt.Errorf("agent: answer: %w", err)
			}
		case netChanged:
			a.networkChanged(ctx)
		case sendNothing, sendAgain:
			a.quiet(lines.Text() == sendNothing)
		case leaveCall:
			if b := a.current(); b != nil {
				leaving, stop := context.WithTimeout(ctx, endPatience)
				_ = b.Leave(leaving) // it may have ended by itself
				stop()
			}
			return nil
		}
	}
	return lines.Err()
}

// end waits for what runs, but not for Pion's dials to ports behind a firewall
// that drops, which take minutes: the process ends anyway.
func (a *agent) end() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.wg.Wait()
	}()
	timer := time.NewTimer(endPatience)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
}

func (a *agent) current() *bot.Bot {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bot
}

// stay joins, and joins again with the session's secret when the session is
// lost, as a page does.
func (a *agent) stay(ctx context.Context) {
	rejoin := ""
	for ctx.Err() == nil {
		b, err := a.newBot(rejoin)
		if err != nil {
			a.failed(err)
			return
		}
		a.replace(b)
		secret, err := a.run(ctx, b)
		if secret != "" {
			rejoin = secret
		}
		if errors.Is(err, errNoConnection) {
			if err := a.throughTunnel(ctx, rejoin); err != nil {
				a.failed(err)
			}
			return
		}
		if err == nil {
			return // left, or the call is over
		}
		a.failed(err)
		select {
		case <-time.After(rejoinPause):
		case <-ctx.Done():
		}
	}
}

func (a *agent) failed(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
}

// replace makes b, or none, the bot of the moment and keeps the counts of the last one.
func (a *agent) replace(b *bot.Bot) {
	if old := a.current(); old != nil {
		before := a.status()
		a.mu.Lock()
		a.before = before
		a.mu.Unlock()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bot = b
}

func (a *agent) newBot(rejoin string) (*bot.Bot, error) {
	cfg, err := a.botConfig(rejoin)
	if err != nil {
		return nil, err
	}
	return bot.New(cfg)
}

func (a *agent) botConfig(rejoin string) (bot.Config, error) {
	cfg := bot.Config{URL: a.cfg.URL, Token: a.cfg.Token, Rejoin: rejoin, EveryPath: true}
	if a.cfg.Proxy != "" {
		proxy, err := url.Parse(a.cfg.Proxy)
		if err != nil {
			return cfg, fmt.Errorf("parse proxy: %w", err)
		}
		cfg.Proxy = proxy
	}
	cfg.Settings = func(s *webrtc.SettingEngine) {
		s.SetICETimeouts(silentAfter, failedAfter, checkPeriod)
		if cfg.Proxy != nil {
			s.SetICEProxyDialer(connectDialer{cfg.Proxy.Host})
		}
	}
	return cfg, nil
}

// watch restarts ICE when the connection has been silent for a while.
func (a *agent) watch(ctx context.Context) {
	ticker := time.NewTicker(watchPeriod)
	defer ticker.Stop()
	var since time.Time
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		b := a.current()
		if b == nil {
			continue
		}
		switch b.Snapshot().Connection {
		case webrtc.PeerConnectionStateDisconnected, webrtc.PeerConnectionStateFailed:
		default:
			since = time.Time{}
			continue
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) >= restartAfter {
			since = time.Now()
			_ = b.RestartICE(ctx) // tried again
		}
	}
}

// networkChanged opens another socket and restarts ICE at once.
func (a *agent) networkChanged(ctx context.Context) {
	b := a.current()
	if b == nil {
		return
	}
	b.CutSocket()
	b.RestoreSocket()
	_ = b.RestartICE(ctx) // if it fails, watch tries again
}

func (a *agent) quiet(on bool) {
	b := a.current()
	if b == nil {
		return
	}
	for _, source := range []media.Source{media.Microphone, media.Camera} {
		if on {
			b.CutMedia(source)
		} else {
			b.RestoreMedia(source)
		}
	}
}

// status is what the agent knows, its earlier bots included.
func (a *agent) status() Status {
	a.mu.Lock()
	b, s, err, tunnel := a.bot, a.before, a.err, a.tunnel
	a.mu.Unlock()
	s.Began = a.began
	if err != nil {
		s.Error = err.Error()
	}
	if tunnel != nil {
		tunnel.addTo(&s)
		s.Path = netlab.PathWebSocket
	}
	if b == nil {
		return s
	}
	snapshot := b.Snapshot()
	if s.Answered.IsZero() {
		s.Answered = snapshot.Answered
	}
	s.State, s.Path = snapshot.Connection.String(), pathOf(snapshot.Path)
	video, audio := snapshot.From(a.cfg.Other, media.Camera), snapshot.From(a.cfg.Other, media.Microphone)
	s.Video.add(video)
	s.Audio.add(audio)
	for _, e := range snapshot.Events {
		if e.Code != "" {
			at, err := time.Parse(time.RFC3339Nano, e.Time)
			if err != nil {
				at = time.Now() // it has just been asked for
			}
			s.note(Told{Type: e.Type, Code: string(e.Code), Participant: e.Participant, Time: at})
		}
	}
	return s
}

// connectDialer dials through an HTTP proxy, for Pion's TURN client.
type connectDialer struct{ proxy string }

func (d connectDialer) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, d.proxy)
	if err != nil {
		return nil, fmt.Errorf("dial proxy: %w", err)
	}
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if err := request.Write(conn); err != nil {
		return nil, errors.Join(fmt.Errorf("ask proxy: %w", err), conn.Close())
	}
	// Whatever follows the answer belongs to the connection; the server speaks
	// only when spoken to, so that nothing is read too far.
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ask proxy: %w", err), conn.Close())
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("proxy answers %s", response.Status), conn.Close())
	}
	return conn, nil
}
