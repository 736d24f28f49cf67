package portmux

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Defaults of Config.
const (
	DefaultDeadline            = 10 * time.Second
	DefaultUndecided           = 4096
	DefaultUndecidedPerAddress = 256
	DefaultMedia               = 8192
	DefaultMediaPerAddress     = 256
	DefaultWriteLimit          = 2 * time.Second
)

// mediaWriteBuffer is the kernel's send buffer of a TURN or ICE-TCP
// connection, in bytes: a second of video at 2 Mbit/s.
const mediaWriteBuffer = 256 << 10

// acceptRetry is the pause after an Accept that failed for want of
// descriptors or memory.
const acceptRetry = 50 * time.Millisecond

// Config configures a Mux.
type Config struct {
	// Listeners are the TCP listeners that share the port, one per local
	// address, or one on an unspecified address. The Mux closes them.
	Listeners []net.Listener
	// HTTPAllowed reports whether HTTP, with or without TLS, is served to those
	// who connected to this local address. Nil means everywhere.
	HTTPAllowed func(local netip.Addr) bool
	// TLS, if set, is used for connections that start a TLS handshake; what
	// is inside is told apart as outside. It must not offer h2. If nil, such
	// connections are closed.
	TLS *tls.Config
	// Deadline is how long a connection may take until it is decided,
	// handshake included. Zero means 10 s.
	Deadline time.Duration
	// Undecided is how many connections may be undecided at a time, and
	// UndecidedPerAddress how many of one IPv4 address or IPv6 /64. More are
	// reset at once. Zero means 4096 and 256: browsers open connections
	// ahead of need, and a branch office has one address.
	Undecided, UndecidedPerAddress int
	// Media is how many TURN and ICE-TCP connections may be open at a time,
	// and MediaPerAddress how many of one IPv4 address or IPv6 /64. More are
	// reset. Zero means 8192 and 256: thirty people of a branch office have
	// three each, and who knows no session must not take the place of those
	// who do.
	Media, MediaPerAddress int
	// WriteLimit is how long a TURN or ICE-TCP client may take to accept one
	// write before it is cut off. Zero means 2 s.
	WriteLimit time.Duration
	// Untrusted, if set, is told of each client that ended its handshake because
	// of our certificate. It is called from the connection's goroutine and must
	// not block.
	Untrusted func(Untrusted)
	Log       *slog.Logger
}

// Mux tells the connections of one TCP port apart.
type Mux struct {
	cfg     Config
	log     *slog.Logger
	waiting *admission // connections that have not said what they are
	carried *admission // TURN and ICE-TCP
	stats   counters

	http, https, turn, ice *listener

	mu      sync.Mutex
	open    map[net.Conn]struct{} // undecided connections, to be closed at the end
	stopped bool
	wg      sync.WaitGroup // one per accept loop and undecided connection
}

// New returns a Mux over cfg.Listeners, which must share one port.
func New(cfg Config) (*Mux, error) {
	if len(cfg.Listeners) == 0 {
		return nil, errors.New("port mux: no listeners")
	}
	port := 0
	for _, l := range cfg.Listeners {
		addr, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			return nil, fmt.Errorf("port mux: %s is not a TCP address", l.Addr())
		}
		if port != 0 && addr.Port != port {
			return nil, fmt.Errorf("port mux: listeners on ports %d and %d; they must share one", port, addr.Port)
		}
		port = addr.Port
	}
	cfg.setDefaults()
	// Pion's TCP mux offers a candidate on each of the machine's addresses
	// only if its listener claims an unspecified one.
	anywhere := &net.TCPAddr{IP: net.IPv6unspecified, Port: port}
	return &Mux{
		cfg:     cfg,
		log:     cfg.Log,
		waiting: newAdmission(cfg.Undecided, cfg.UndecidedPerAddress),
		carried: newAdmission(cfg.Media, cfg.MediaPerAddress),
		http:    newListener(cfg.Listeners[0].Addr()),
		https:   newListener(cfg.Listeners[0].Addr()),
		turn:    newListener(cfg.Listeners[0].Addr()),
		ice:     newListener(anywhere),
		open:    make(map[net.Conn]struct{}),
	}, nil
}

func (c *Config) setDefaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.HTTPAllowed == nil {
		c.HTTPAllowed = func(netip.Addr) bool { return true }
	}
	if c.Deadline == 0 {
		c.Deadline = DefaultDeadline
	}
	if c.Undecided == 0 {
		c.Undecided = DefaultUndecided
	}
	if c.UndecidedPerAddress == 0 {
		c.UndecidedPerAddress = DefaultUndecidedPerAddress
	}
	if c.Media == 0 {
		c.Media = DefaultMedia
	}
	if c.MediaPerAddress == 0 {
		c.MediaPerAddress = DefaultMediaPerAddress
	}
	if c.WriteLimit == 0 {
		c.WriteLimit = DefaultWriteLimit
	}
}

// HTTP returns the listener of HTTP connections without TLS. They have no
// deadlines: those are the HTTP server's. Its address is that of the first
// listener.
func (m *Mux) HTTP() net.Listener { return m.http }

// HTTPS returns the listener of HTTP connections inside TLS, which is already
// taken off. They have a method ConnectionState, from which net/http fills in
// Request.TLS. Without Config.TLS nothing arrives here.
func (m *Mux) HTTPS() net.Listener { return m.https }

// TURN returns the listener of TURN connections. Writes to them are limited
// in time. Its address is that of the first listener.
func (m *Mux) TURN() net.Listener { return m.turn }

// ICE returns the listener of ICE-TCP connections. Writes to them are limited
// in time. Its address is the unspecified one with the shared port.
func (m *Mux) ICE() net.Listener { return m.ice }

// Run accepts connections until ctx ends or a listener fails for good. It
// closes the listeners and every undecided connection, and returns when all
// its goroutines have ended. Connections handed over live on with whoever
// accepted them.
func (m *Mux) Run(ctx context.Context) error {
	failed := make(chan error, len(m.cfg.Listeners))
	for _, l := range m.cfg.Listeners {
		m.wg.Go(func() { failed <- m.accept(ctx, l) })
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	m.stop()
	m.wg.Wait()
	for _, l := range m.listeners() {
		l.discard()
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (m *Mux) listeners() []*listener { return []*listener{m.http, m.https, m.turn, m.ice} }

// stop closes everything that a goroutine of the Mux may be waiting on.
func (m *Mux) stop() {
	for _, l := range m.cfg.Listeners {
		_ = l.Close()
	}
	for _, l := range m.listeners() {
		_ = l.Close()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopped = true
	for c := range m.open {
		_ = c.Close()
	}
}

func (m *Mux) accept(ctx context.Context, l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accept on %s: %w", l.Addr(), err)
			}
			// Out of descriptors or memory: it passes when clients leave.
			m.log.Warn("can't accept connections for now", "address", l.Addr(), "err", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(acceptRetry):
			}
			continue
		}
		m.admit(conn)
	}
}

// admit starts the sniffing of conn unless there are too many undecided.
func (m *Mux) admit(conn net.Conn) {
	from := addrOf(conn.RemoteAddr())
	if !m.waiting.enter(from) {
		m.stats.dropped[dropCap].Add(1)
		reset(conn)
		return
	}
	m.mu.Lock()
	if m.stopped {
		m.mu.Unlock()
		m.waiting.leave(from)
		_ = conn.Close()
		return
	}
	m.open[conn] = struct{}{}
	m.mu.Unlock()
	m.wg.Go(func() {
		defer m.waiting.leave(from)
		defer m.forget(conn)
		m.route(conn)
	})
}

func (m *Mux) forget(conn net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.open, conn)
}

// addrOf returns the IP of a TCP address, the zero Addr for anything else.
func addrOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
