package muxconn

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Defaults of Config.
const (
	DefaultQueue      = 1024
	DefaultReadBuffer = 4 << 20
)

// burst is how many datagrams of virtual peers are handed out in a row before
// the socket is looked at. Without that, a flood through the relay would
// starve media that comes directly.
const burst = 32

// Config configures a Conn.
type Config struct {
	// Advertise lists addresses that lead to this socket, besides the one it
	// is bound to: the outside of a 1:1 NAT. A virtual peer may write to the
	// bound address and to these.
	Advertise []netip.AddrPort
	// Public is Advertise with the port that the socket is bound to, also when
	// the kernel chose it.
	Public []netip.Addr
	// ReadBuffer and WriteBuffer are the sizes asked of the kernel for the
	// socket, in bytes. Zero means 4 MiB each. What the kernel refuses is
	// logged and does not stop the start.
	ReadBuffer, WriteBuffer int
	// Queue is how many datagrams of virtual peers may wait for the reader;
	// more are dropped and counted. Zero means 1024.
	Queue int
	Log   *slog.Logger
}

// Conn is a UDP socket on one local address that also carries the traffic of
// virtual peers. It implements net.PacketConn and ice.AddrPortReaderWriter.
//
// There must be one reader at a time; any number of goroutines may write.
// Read deadlines are not supported: the Conn uses the socket's own to wake its
// reader.
type Conn struct {
	udp   *net.UDPConn
	local netip.AddrPort
	adv   []netip.AddrPort
	stats counters

	group *Group // set once by NewGroup, before the first read
	index int    // in the group

	// fromPeers is written by the peers' owners (one TURN goroutine each) and
	// read by the Conn's one reader.
	fromPeers chan *packet
	reader    atomic.Int32 // readerBusy, readerParked
	inARow    int          // datagrams of peers since the socket's last turn; reader only

	closed    chan struct{}
	closeOnce sync.Once
	closeErr  error
}

// States of the reader. Who moves it from parked to busy wakes it.
const (
	readerBusy int32 = iota
	readerParked
)

// Listen opens the media socket on addr, whose IP must be specified: an
// unspecified one would have the SFU answer from, and advertise, whatever
// address the machine has. Port 0 lets the kernel choose.
func Listen(addr netip.AddrPort, cfg Config) (*Conn, error) {
	if !addr.Addr().IsValid() || addr.Addr().IsUnspecified() {
		return nil, fmt.Errorf("media socket: %s is not one address of this machine", addr)
	}
	network := "udp4"
	if addr.Addr().Is6() && !addr.Addr().Is4In6() {
		network = "udp6"
	}
	udp, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, fmt.Errorf("open media socket: %w", err)
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	setBuffers(udp, orDefault(cfg.ReadBuffer, DefaultReadBuffer), orDefault(cfg.WriteBuffer, DefaultReadBuffer), log)
	c := &Conn{
		udp:       udp,
		local:     unmap(udp.LocalAddr().(*net.UDPAddr).AddrPort()),
		fromPeers: make(chan *packet, orDefault(cfg.Queue, DefaultQueue)),
		closed:    make(chan struct{}),
	}
	c.adv = append(c.adv, c.local)
	for _, a := range cfg.Advertise {
		c.adv = append(c.adv, unmap(a))
	}
	for _, a := range cfg.Public {
		c.adv = append(c.adv, netip.AddrPortFrom(a.Unmap(), c.local.Port()))
	}
	return c, nil
}

// ReadFromAddrPort reads one datagram, from the socket or from a virtual peer.
func (c *Conn) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		if n, from, ok := c.readPeer(b); ok {
			return n, from, nil
		}
		n, from, err := c.readSocket(b)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				continue // woken by a peer, or nothing waits at the socket
			}
			return n, from, err
		}
		from = unmap(from)
		if IsVirtual(from.Addr()) {
			c.stats.forged.Add(1)
			continue
		}
		return n, from, nil
	}
}

// readPeer takes a datagram of a virtual peer if one waits and the socket has
// had its turn.
func (c *Conn) readPeer(b []byte) (int, netip.AddrPort, bool) {
	if c.inARow >= burst {
		return 0, netip.AddrPort{}, false
	}
	select {
	case p := <-c.fromPeers:
		c.inARow++
		n, from := copy(b, p.bytes()), p.from
		c.group.packets.put(p)
		c.stats.relayIn.Add(1)
		return n, from, true
	default:
		return 0, netip.AddrPort{}, false
	}
}

// readSocket reads the socket until a datagram or a wake-up comes. A peer that
// finds the reader parked wakes it by a read deadline in the past; the reader
// clears the deadline and then looks at the queue before it parks again, so
// that no wake-up is lost, only an empty one possible.
func (c *Conn) readSocket(b []byte) (n int, from netip.AddrPort, err error) {
	peersWait := c.inARow >= burst
	c.inARow = 0
	if peersWait {
		n, from, err = readWaiting(c.udp, b)
	} else {
		c.reader.Store(readerParked)
		if len(c.fromPeers) > 0 { // came between the look at the queue and parking
			c.reader.Store(readerBusy)
			return 0, netip.AddrPort{}, os.ErrDeadlineExceeded
		}
		n, from, err = c.udp.ReadFromUDPAddrPort(b)
		c.reader.Store(readerBusy)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if clearErr := c.udp.SetReadDeadline(time.Time{}); clearErr != nil {
			err = clearErr
		}
	}
	return n, from, err
}

// fromPeer queues b, sent by a virtual peer, for the reader.
func (c *Conn) fromPeer(b []byte, from netip.AddrPort) {
	p := c.group.packets.copyOf(b)
	p.from = from
	select {
	case c.fromPeers <- p:
	default:
		c.stats.inFull.Add(1)
		c.group.packets.put(p)
		return
	}
	if c.reader.CompareAndSwap(readerParked, readerBusy) {
		// Fails only when the Conn is closed; then nobody reads any more.
		_ = c.udp.SetReadDeadline(time.Unix(1, 0))
	}
}

// WriteToAddrPort sends b to a real address through the socket, or to a
// virtual one through its peer. Datagrams to virtual addresses that can't be
// delivered are dropped and counted, as on any network.
func (c *Conn) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	to = unmap(to)
	if IsVirtual(to.Addr()) {
		select {
		case <-c.closed:
			return 0, net.ErrClosed
		default:
		}
		c.toPeer(b, to)
		return len(b), nil
	}
	return c.udp.WriteToUDPAddrPort(b, to)
}

func (c *Conn) toPeer(b []byte, to netip.AddrPort) {
	if c.group == nil {
		c.stats.unknown.Add(1)
		return
	}
	peer := c.group.peer(to)
	if peer == nil {
		c.stats.unknown.Add(1)
		return
	}
	peer.deliver(b, c)
}

// ReadFrom implements net.PacketConn. It allocates an address per datagram;
// ReadFromAddrPort does not.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// WriteTo implements net.PacketConn; to must be a *net.UDPAddr.
func (c *Conn) WriteTo(b []byte, to net.Addr) (int, error) {
	udp, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("write to %s: not a UDP address", to)
	}
	return c.WriteToAddrPort(b, udp.AddrPort())
}

// LocalAddr returns the address the socket is bound to, a *net.UDPAddr.
func (c *Conn) LocalAddr() net.Addr { return c.udp.LocalAddr() }

// Advertised returns every address that leads here, the bound one first.
func (c *Conn) Advertised() []netip.AddrPort { return append([]netip.AddrPort(nil), c.adv...) }

// SetDeadline implements net.PacketConn; it returns os.ErrNoDeadline.
func (c *Conn) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline implements net.PacketConn; it returns os.ErrNoDeadline.
func (c *Conn) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline sets the socket's write deadline.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.udp.SetWriteDeadline(t) }

// SyscallConn gives access to the socket for batched input and output.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.udp.SyscallConn() }

// Stats returns what was passed on and dropped so far.
func (c *Conn) Stats() Stats { return c.stats.snapshot() }

// Close closes the socket and ends a pending read. Peers stay open, and what
// they send here is dropped.
func (c *Conn) Close() error {
	c.closeOnce.Do(func() {
		close(c.closed)
		c.closeErr = c.udp.Close()
	})
	return c.closeErr
}

func unmap(a netip.AddrPort) netip.AddrPort {
	if a.Addr().Is4In6() {
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	return a
}

func orDefault(v, def int) int {
	if v == 0 {
		return def
	}
	return v
}
