// Package lossy makes a good socket bad: it loses and delays datagrams under a
// test client, by a seeded generator, so that a run can be repeated.
//
// The package is a leaf: it imports nothing of ours.
package lossy

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	"github.com/pion/transport/v5/deadline"
)

const (
	// queueLimit bounds the datagrams under way, both ways together: a second
	// of 30 Mbit/s. What does not fit is lost and counted as Overflow.
	queueLimit = 4096
	// readyLimit bounds the datagrams that have arrived and wait for ReadFrom.
	readyLimit = 1024
	maxPacket  = 2048
)

// Config of a Conn.
type Config struct {
	Seed uint64
	// LossOut and LossIn are the probability of losing a datagram, 0 to 1, on the way out
	// and on the way in.
	LossOut, LossIn float64
	// RTT is the added round trip; half of it passes on each way.
	RTT time.Duration
	// MediaOnly spares everything that is not RTP or RTCP, so that the
	// handshakes take the time they take; it is delayed all the same.
	MediaOnly bool
	// OnLoss, if set, is told of every media datagram that was lost by the
	// generator. It is called from the goroutine that writes or reads.
	OnLoss func(Loss)
}

// Loss describes a lost RTP packet by its header, which SRTP leaves readable.
type Loss struct {
	At          time.Time
	Out         bool // lost on the way out
	SSRC        uint32
	Sequence    uint16
	PayloadType uint8
}

// Count of what became of the datagrams of one direction.
type Count struct {
	Passed   uint64
	Lost     uint64 // by the generator
	Cut      uint64 // while cut
	Overflow uint64 // a queue was full
}

// Conn is a bad socket. Its methods may be called from any goroutine.
//
// Two goroutines serve it: read takes datagrams from the socket, carry holds
// every datagram for half a round trip and passes it on, in order. Close ends
// both and waits for them.
type Conn struct {
	net.PacketConn
	cfg Config

	mu      sync.Mutex
	rng     *rand.Rand
	cut     bool
	out, in Count

	queue  chan datagram // to carry; written under mu, so order is the order of time
	ready  chan datagram // from carry to ReadFrom
	closed chan struct{}
	once   sync.Once
	wg     sync.WaitGroup
	read   *deadline.Deadline
}

type datagram struct {
	data []byte
	addr net.Addr
	due  time.Time
	out  bool
}

// Wrap makes conn bad. The result owns conn.
func Wrap(conn net.PacketConn, cfg Config) *Conn {
	c := &Conn{
		PacketConn: conn,
		cfg:        cfg,
		rng:        rand.New(rand.NewPCG(cfg.Seed, 0)),
		queue:      make(chan datagram, queueLimit),
		ready:      make(chan datagram, readyLimit),
		closed:     make(chan struct{}),
		read:       deadline.New(),
	}
	c.wg.Go(c.receive)
	c.wg.Go(c.carry)
	return c
}

// Cut loses everything, both ways, until Restore.
func (c *Conn) Cut() { c.setCut(true) }

// Restore ends a Cut.
func (c *Conn) Restore() { c.setCut(false) }

func (c *Conn) setCut(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
}

// Counts returns what was sent and received so far.
func (c *Conn) Counts() (out, in Count) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out, c.in
}

// WriteTo sends a datagram, perhaps. A lost one is a success, as on a network.
func (c *Conn) WriteTo(p []byte, addr net.Addr) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	c.admit(p, addr, true)
	return len(p), nil
}

// ReadFrom returns the next datagram that was not lost.
func (c *Conn) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case <-c.read.Done():
		return 0, nil, os.ErrDeadlineExceeded
	case <-c.closed:
		return 0, nil, net.ErrClosed
	default:
	}
	select {
	case d := <-c.ready:
		return copy(p, d.data), d.addr, nil
	case <-c.read.Done():
		return 0, nil, os.ErrDeadlineExceeded
	case <-c.closed:
		return 0, nil, net.ErrClosed
	}
}

// SetDeadline sets the deadline of reads; writes never block.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline sets the deadline of reads.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.read.Set(t)
	return nil
}

// SetWriteDeadline does nothing: writes never block.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// Close closes the socket and waits for the goroutines; what is under way is
// lost.
func (c *Conn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		close(c.closed)
		err = c.PacketConn.Close()
		c.wg.Wait()
	})
	return err
}

// admit decides what becomes of a datagram and queues it if it survives.
func (c *Conn) admit(p []byte, addr net.Addr, out bool) {
	loss, count, probability := Loss{}, &c.in, c.cfg.LossIn
	if out {
		count, probability = &c.out, c.cfg.LossOut
	}
	rtp, media := inspect(p, &loss)

	c.mu.Lock()
	lost := (media || !c.cfg.MediaOnly) && c.rng.Float64() < probability
	switch {
	case c.cut:
		count.Cut++
	case lost:
		count.Lost++
	default:
		now := time.Now()
		d := datagram{data: append([]byte(nil), p...), addr: addr, due: now.Add(c.cfg.RTT / 2), out: out}
		select {
		case c.queue <- d:
			count.Passed++
		default:
			count.Overflow++
		}
	}
	reported := lost && !c.cut && rtp && c.cfg.OnLoss != nil
	c.mu.Unlock()

	if reported {
		loss.At, loss.Out = time.Now(), out
		c.cfg.OnLoss(loss)
	}
}

// receive takes datagrams from the socket until it is closed.
func (c *Conn) receive() {
	buf := make([]byte, maxPacket)
	for {
		n, addr, err := c.PacketConn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			select {
			case <-c.closed:
				return
			default:
				continue // an ICMP error of some earlier datagram
			}
		}
		c.admit(buf[:n], addr, false)
	}
}

// carry holds each datagram until it is due. The delay is the same for all,
// so the first in the queue is always the first due.
func (c *Conn) carry() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var d datagram
		select {
		case d = <-c.queue:
		case <-c.closed:
			return
		}
		if wait := time.Until(d.due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-c.closed:
				return
			}
		}
		c.deliver(d)
	}
}

func (c *Conn) deliver(d datagram) {
	if d.out {
		// A failed write is a lost datagram, which is what this socket is for.
		_, _ = c.PacketConn.WriteTo(d.data, d.addr)
		return
	}
	select {
	case c.ready <- d:
	default:
		c.mu.Lock()
		c.in.Passed--
		c.in.Overflow++
		c.mu.Unlock()
	}
}

// inspect tells RTP and RTCP from STUN, DTLS and TURN by the first byte
// (RFC 7983) and RTP from RTCP by the second (RFC 5761), and notes the RTP
// header in loss.
func inspect(p []byte, loss *Loss) (rtp, media bool) {
	if len(p) < 12 || p[0] < 128 || p[0] > 191 {
		return false, false
	}
	if p[1] >= 192 && p[1] <= 223 {
		return false, true
	}
	loss.PayloadType = p[1] & 0x7f
	loss.Sequence = uint16(p[2])<<8 | uint16(p[3])
	loss.SSRC = uint32(p[8])<<24 | uint32(p[9])<<16 | uint32(p[10])<<8 | uint32(p[11])
	return true, true
}
