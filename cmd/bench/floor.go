package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/pion/rtp"

	"consilium/internal/media"
	"consilium/internal/testmedia"
)

const (
	floorPaced = 3 * time.Second // one round of the camera's clip
	floorHot   = time.Second
	rtpHeader  = 12
	gcmTag     = 16
)

// floorFigures are CPU microseconds by packet and destination.
type floorFigures struct {
	hot   float64 // packets as fast as they go
	paced float64 // packets when the clips say
}

// floor is the least that forwards a packet: copy it, rewrite sequence number,
// timestamp and SSRC, seal it with AES-128-GCM, send it from one socket to
// many. Nobody reads at the other end.
type floor struct {
	conn  *net.UDPConn
	sinks []*net.UDPConn
	to    []netip.AddrPort
	seal  cipher.AEAD
	out   []byte
	sent  uint64
}

func newFloor(destinations int) (f *floor, err error) {
	f = &floor{out: make([]byte, 0, 1500)}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		return f, fmt.Errorf("make cipher: %w", err)
	}
	if f.seal, err = cipher.NewGCM(block); err != nil {
		return f, fmt.Errorf("make cipher: %w", err)
	}
	loopback := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}
	if f.conn, err = net.ListenUDP("udp4", loopback); err != nil {
		return f, fmt.Errorf("open socket: %w", err)
	}
	for range destinations {
		sink, err := net.ListenUDP("udp4", loopback)
		if err != nil {
			return f, fmt.Errorf("open sink: %w", err)
		}
		f.sinks = append(f.sinks, sink)
		f.to = append(f.to, sink.LocalAddr().(*net.UDPAddr).AddrPort())
	}
	return f, nil
}

func (f *floor) close() {
	for _, c := range append(f.sinks, f.conn) {
		if c != nil {
			_ = c.Close() // nothing is lost by a failure
		}
	}
}

// forward sends one packet to every destination.
func (f *floor) forward(packet []byte) error {
	var nonce [12]byte
	for i, to := range f.to {
		out := append(f.out[:0], packet[:rtpHeader]...)
		binary.BigEndian.PutUint16(out[2:], uint16(f.sent))
		binary.BigEndian.PutUint32(out[4:], uint32(f.sent))
		binary.BigEndian.PutUint32(out[8:], uint32(i))
		f.sent++
		binary.BigEndian.PutUint64(nonce[4:], f.sent)
		out = f.seal.Seal(out, nonce[:], packet[rtpHeader:], out[:rtpHeader])
		if _, err := f.conn.WriteToUDPAddrPort(out, to); err != nil {
			return fmt.Errorf("send: %w", err)
		}
	}
	return nil
}

// measureFloor measures this process, in which nothing else may run.
func measureFloor(ctx context.Context) (floorFigures, error) {
	f, err := newFloor(viewers)
	if err != nil {
		return floorFigures{}, err
	}
	defer f.close()
	var packets [][]byte
	paced, err := f.cost(func() (err error) {
		packets, err = f.play(ctx)
		return err
	})
	if err != nil {
		return floorFigures{}, err
	}
	hot, err := f.cost(func() error {
		for end := time.Now().Add(floorHot); time.Now().Before(end); {
			for _, p := range packets {
				if err := f.forward(p); err != nil {
					return err
				}
			}
		}
		return ctx.Err()
	})
	return floorFigures{hot: hot, paced: paced}, err
}

// cost returns the CPU microseconds by packet sent while work runs.
func (f *floor) cost(work func() error) (float64, error) {
	before, err := ownCPU()
	if err != nil {
		return 0, err
	}
	sent := f.sent
	if err := work(); err != nil {
		return 0, err
	}
	after, err := ownCPU()
	return microseconds(after-before) / float64(f.sent-sent), err
}

// play forwards the clips in real time and returns their packets.
func (f *floor) play(ctx context.Context) (packets [][]byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, floorPaced)
	defer cancel()
	var mu sync.Mutex
	var playing sync.WaitGroup
	for source, clip := range clips() {
		player, err := testmedia.NewPlayer(testmedia.Config{Clip: clip, KeepStep: source == media.Camera})
		if err != nil {
			return nil, err
		}
		playing.Go(func() {
			playErr := player.Run(ctx, func(p *rtp.Packet) error {
				b, err := p.Marshal()
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				packets = append(packets, b)
				return f.forward(b)
			})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				err = playErr
			}
		})
	}
	playing.Wait()
	return packets, err
}

// ownCPU is the CPU time of this process.
func ownCPU() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("read own CPU time: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
