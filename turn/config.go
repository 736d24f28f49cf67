package turn

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// Defaults of Config.
const (
	DefaultSessionTTL     = 10 * time.Minute
	DefaultUserTTL        = 24 * time.Hour
	DefaultMaxConnections = 4096
	DefaultIdle           = 15 * time.Second
)

// maxPeers is how many permissions, and how many channels, one allocation of a
// closed relay may have. An SFU has one media address per local address and
// family; who asks for more is scanning, and pion/turn looks channels up one by
// one.
const maxPeers = 8

// Limits bound what may be used at a time. Zero means the default.
type Limits struct {
	Allocations int
	Permissions int // addresses of peers, of all allocations together
	Channels    int // of all allocations together
	Bandwidth   int // bits per second, each way
}

// Config configures a Server.
type Config struct {
	// Realm is part of every credential's key. It goes into every 401, so a
	// short one amplifies least.
	Realm string
	// Secrets sign credentials: the first mints, all are accepted. A second
	// one is the secret before a rotation.
	Secrets []string
	// SessionTTL and UserTTL are the lifetimes of minted credentials, by kind.
	// Zero means 10 min and 24 h.
	SessionTTL, UserTTL time.Duration

	// UDP and TCP are what to listen on. The Server closes them. A UDP socket
	// must not be a media socket: Chromium takes everything that comes from a
	// STUN server's address for STUN, and media would vanish.
	UDP []net.PacketConn
	TCP []net.Listener

	// OpenRelay opens the relayed transport address of an allocation of the
	// closed relay; network is "udp4" or "udp6", port the one it must have, or
	// 0. LocalAddr must be a *net.UDPAddr, and Close must end a pending
	// ReadFrom. It is not used if Open is set.
	OpenRelay func(network string, port uint16) (net.PacketConn, error)
	// Media are the SFU's media addresses: the only peers there are, unless
	// Open is set.
	Media []netip.AddrPort
	// Open makes the relay an open one; nil leaves it closed.
	Open *Open

	// Live reports whether a session lives. It is asked at every request made
	// with the session's credential, from any goroutine, and must not block.
	// Nil means that all do.
	Live func(session string) bool

	// PerSession and PerUser limit one session or username, Total all of them
	// together. Defaults: 16 allocations, 128 permissions and channels and
	// 20 Mbit/s a session; four times that a user; 4096, 65536 and 1 Gbit/s in
	// total.
	PerSession, PerUser, Total Limits
	// MaxConnections bounds TCP connections. Zero means 4096.
	MaxConnections int
	// Idle is how long a TCP connection may be without an allocation. Zero
	// means 15 s.
	Idle time.Duration

	Log *slog.Logger
	// Now is the clock for expiry; nil means time.Now.
	Now func() time.Time
}

func (c *Config) check() error {
	switch {
	case c.Realm == "":
		return errors.New("turn: no realm")
	case len(c.UDP) == 0 && len(c.TCP) == 0:
		return errors.New("turn: nothing to listen on")
	case c.OpenRelay == nil && c.Open == nil:
		return errors.New("turn: no relay")
	case len(c.Media) == 0:
		return errors.New("turn: no media addresses, so the relay would lead nowhere")
	}
	if err := checkSecrets(c.Secrets); err != nil {
		return err
	}
	if c.Open != nil {
		if err := c.Open.check(); err != nil {
			return err
		}
	}
	for _, conn := range c.UDP {
		addr, ok := conn.LocalAddr().(*net.UDPAddr)
		if !ok {
			return fmt.Errorf("turn: %s is not a UDP address", conn.LocalAddr())
		}
		for _, media := range c.Media {
			if sameSocket(addr.AddrPort(), media) {
				return fmt.Errorf("turn: %s is the media socket %s; Chromium would lose all direct media: give turn a port of its own", addr, media)
			}
		}
	}
	return nil
}

// sameSocket reports whether a datagram to media may arrive on a socket bound
// to local.
func sameSocket(local, media netip.AddrPort) bool {
	ip := local.Addr().Unmap()
	return local.Port() == media.Port() && (ip.IsUnspecified() || ip == media.Addr().Unmap())
}

func (c *Config) setDefaults() {
	setDefault(&c.SessionTTL, DefaultSessionTTL)
	setDefault(&c.UserTTL, DefaultUserTTL)
	c.PerSession.setDefaults(Limits{Allocations: 16, Permissions: 128, Channels: 128, Bandwidth: 20_000_000})
	c.PerUser.setDefaults(Limits{Allocations: 64, Permissions: 512, Channels: 512, Bandwidth: 80_000_000})
	c.Total.setDefaults(Limits{Allocations: 4096, Permissions: 65536, Channels: 65536, Bandwidth: 1_000_000_000})
	setDefault(&c.MaxConnections, DefaultMaxConnections)
	setDefault(&c.Idle, DefaultIdle)
	if c.Live == nil {
		c.Live = func(string) bool { return true }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

func (l *Limits) setDefaults(def Limits) {
	setDefault(&l.Allocations, def.Allocations)
	setDefault(&l.Permissions, def.Permissions)
	setDefault(&l.Channels, def.Channels)
	setDefault(&l.Bandwidth, def.Bandwidth)
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
