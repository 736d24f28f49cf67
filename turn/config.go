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
	DefaultMaxAllocations = 4096
	DefaultMaxConnections = 4096
	DefaultIdle           = 15 * time.Second
)

// maxPeers is how many permissions, and how many channels, one allocation may
// have. An SFU has one media address per local address and family; who asks
// for more is scanning, and pion/turn looks channels up one by one.
const maxPeers = 8

// Limits bound what one credential may use. Zero means the default.
type Limits struct {
	Allocations int // at a time
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

	// OpenRelay opens the relayed transport address of an allocation; network
	// is "udp4" or "udp6", port the one it must have, or 0. LocalAddr must be a
	// *net.UDPAddr, and Close must end a pending ReadFrom.
	OpenRelay func(network string, port uint16) (net.PacketConn, error)
	// Media are the SFU's media addresses: the only peers there are.
	Media []netip.AddrPort

	// Live reports whether a session lives. It is asked at every request made
	// with the session's credential, from any goroutine, and must not block.
	// Nil means that all do.
	Live func(session string) bool

	// PerSession and PerUser limit credentials by kind; the defaults are 16
	// allocations with 20 Mbit/s, and 64 with 100 Mbit/s.
	PerSession, PerUser Limits
	// MaxAllocations bounds all allocations together, MaxConnections all TCP
	// connections. Zero means 4096 each.
	MaxAllocations, MaxConnections int
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
	case c.OpenRelay == nil:
		return errors.New("turn: no relay")
	case len(c.Media) == 0:
		return errors.New("turn: no media addresses, so the relay would lead nowhere")
	}
	if err := checkSecrets(c.Secrets); err != nil {
		return err
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
	setDefault(&c.PerSession.Allocations, 16)
	setDefault(&c.PerSession.Bandwidth, 20_000_000)
	setDefault(&c.PerUser.Allocations, 64)
	setDefault(&c.PerUser.Bandwidth, 100_000_000)
	setDefault(&c.MaxAllocations, DefaultMaxAllocations)
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

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
