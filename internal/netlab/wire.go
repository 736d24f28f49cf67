package netlab

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// wireBuffer is how much a slow wire holds back before it drops, as a time
	// at its rate: the modest buffer of a home router.
	wireBuffer = 250 * time.Millisecond
	// wirePackets bounds the packets on their way, for wires without a rate.
	wirePackets = 4096
	// maxPacket is the largest IP packet that is carried.
	maxPacket = 65535
)

// wireConfig says what a wire does. The zero value is no wire but a cable.
type wireConfig struct {
	Delay time.Duration // each way
	// Up and Down are rates in bit/s, from the client and to it; 0: no limit.
	Up, Down float64
}

// wire connects two namespaces by a pair of TUN devices and carries packets
// between them with a delay and at a rate. (The kernels of many machines for
// tests have no netem.)
type wire struct {
	near, far *os.File
	wg        sync.WaitGroup
}

func newWire(near, far Namespace, device string, cfg wireConfig) (*wire, error) {
	w := &wire{}
	var err error
	if w.near, err = openTUN(near, device); err != nil {
		return nil, err
	}
	if w.far, err = openTUN(far, device); err != nil {
		return nil, errors.Join(err, w.near.Close())
	}
	w.carry(w.near, w.far, cfg.Delay, cfg.Up)
	w.carry(w.far, w.near, cfg.Delay, cfg.Down)
	return w, nil
}

// openTUN makes a TUN device in a namespace. It goes with its file.
func openTUN(n Namespace, device string) (*os.File, error) {
	var file *os.File
	err := n.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("open TUN device: %w", err)
		}
		request, err := unix.NewIfreq(device)
		if err == nil {
			request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("make TUN device %s: %w", device, err), unix.Close(fd))
		}
		file = os.NewFile(uintptr(fd), device)
		return nil
	})
	return file, err
}

// flight is a packet on its way.
type flight struct {
	packet []byte
	due    time.Time
}

// carry takes packets one way until the wire is closed.
func (w *wire) carry(from, to *os.File, delay time.Duration, rate float64) {
	flying := make(chan flight, wirePackets) // from the reader to the writer; a full one drops, as a router does
	w.wg.Go(func() {
		defer close(flying)
		var free time.Time // when the wire has sent what it was given
		buf := make([]byte, maxPacket)
		for {
			n, err := from.Read(buf)
			if err != nil {
				return // closed
			}
			now := time.Now()
			if free.Before(now) {
				free = now
			}
			if rate > 0 {
				if free.Sub(now) > wireBuffer {
					continue
				}
				free = free.Add(time.Duration(float64(n*8) / rate * float64(time.Second)))
			}
			select {
			case flying <- flight{append([]byte(nil), buf[:n]...), free.Add(delay)}:
			default:
			}
		}
	})
	w.wg.Go(func() {
		timer := time.NewTimer(0)
		defer timer.Stop()
		for f := range flying {
			if wait := time.Until(f.due); wait > 0 {
				timer.Reset(wait)
				<-timer.C
			}
			_, _ = to.Write(f.packet) // a device that is not up yet loses it, as a router does
		}
	})
}

func (w *wire) close() error {
	err := errors.Join(w.near.Close(), w.far.Close())
	w.wg.Wait()
	return err
}
