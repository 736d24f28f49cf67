package lossy

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"consilium/internal/leak"
)

// pair returns a bad socket and the good one at its other end.
func pair(t *testing.T, cfg Config) (*Conn, net.PacketConn) {
	t.Helper()
	var sockets [2]net.PacketConn
	for i := range sockets {
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		sockets[i] = conn
	}
	bad := Wrap(sockets[0], cfg)
	t.Cleanup(func() { bad.Close() })
	return bad, sockets[1]
}

func rtpPacket(seq int) []byte {
	return []byte{0x80, 96, byte(seq >> 8), byte(seq), 0, 0, 0, 0, 1, 2, 3, 4, 5}
}

// next reads one packet and returns its sequence number.
func next(t *testing.T, conn net.PacketConn) int {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if _, _, err := conn.ReadFrom(buf); err != nil {
		t.Fatal(err)
	}
	return int(buf[2])<<8 | int(buf[3])
}

// drain reads until nothing comes for a while and returns the sequence numbers.
func drain(t *testing.T, conn net.PacketConn) (seqs []int) {
	t.Helper()
	buf := make([]byte, 100)
	for {
		if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, _, err := conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return seqs
		}
		if err != nil || n < 4 {
			t.Fatal(n, err)
		}
		seqs = append(seqs, int(buf[2])<<8|int(buf[3]))
	}
}

func TestLossIsAboutWhatWasAskedAndTheSameForTheSameSeed(t *testing.T) {
	leak.Check(t)
	var lost [2][]uint16
	for run := range lost {
		bad, good := pair(t, Config{Seed: 7, LossOut: 0.2, OnLoss: func(l Loss) {
			if !l.Out || l.SSRC != 0x01020304 || l.PayloadType != 96 {
				t.Errorf("loss reported as %+v", l)
			}
			lost[run] = append(lost[run], l.Sequence)
		}})
		var got []int
		for seq := range 500 {
			if _, err := bad.WriteTo(rtpPacket(seq), good.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			// Read as they come: the kernel's own buffer is short.
			for out, _ := bad.Counts(); len(got) < int(out.Passed); {
				got = append(got, next(t, good))
			}
		}
		out, _ := bad.Counts()
		if len(got) != int(out.Passed) || out.Passed+out.Lost != 500 || out.Lost < 70 || out.Lost > 130 {
			t.Errorf("run %d: %d arrived, counts %+v; want about 100 of 500 lost", run, len(got), out)
		}
		for i := 1; i < len(got); i++ {
			if got[i] <= got[i-1] {
				t.Fatalf("packet %d came after %d", got[i], got[i-1])
			}
		}
	}
	if len(lost[0]) != len(lost[1]) || lost[0][0] != lost[1][0] {
		t.Errorf("two runs lost %d and %d packets", len(lost[0]), len(lost[1]))
	}
}

func TestBothWaysTakeHalfTheRoundTrip(t *testing.T) {
	leak.Check(t)
	bad, good := pair(t, Config{RTT: 100 * time.Millisecond})
	buf := make([]byte, 100)
	begin := time.Now()
	if _, err := bad.WriteTo(rtpPacket(1), good.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	_, addr, err := good.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	oneWay := time.Since(begin)
	if _, err := good.WriteTo(rtpPacket(2), addr); err != nil {
		t.Fatal(err)
	}
	if _, _, err := bad.ReadFrom(buf); err != nil {
		t.Fatal(err)
	}
	if round := time.Since(begin); oneWay < 50*time.Millisecond || round < 100*time.Millisecond || round > 2*time.Second {
		t.Errorf("one way %v, round trip %v; want 50ms and 100ms", oneWay, round)
	}
}

func TestHandshakesAreSparedWhenAsked(t *testing.T) {
	leak.Check(t)
	bad, good := pair(t, Config{LossOut: 1, MediaOnly: true})
	dtls := append([]byte{22, 254, 0, 9}, make([]byte, 20)...)
	rtcp := append([]byte{0x80, 200, 0, 9}, make([]byte, 20)...)
	for _, p := range [][]byte{dtls, rtcp, rtpPacket(9)} {
		if _, err := bad.WriteTo(p, good.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	if got := drain(t, good); len(got) != 1 {
		t.Errorf("%d datagrams arrived, want only the handshake", len(got))
	}
}

func TestCutLosesEverythingUntilRestore(t *testing.T) {
	leak.Check(t)
	bad, good := pair(t, Config{})
	bad.Cut()
	for seq, restore := range []bool{false, true, false} {
		if restore {
			bad.Restore()
		}
		if _, err := bad.WriteTo(rtpPacket(seq), good.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	if got := drain(t, good); len(got) != 2 || got[0] != 1 {
		t.Errorf("got packets %v, want 1 and 2", got)
	}
	if out, _ := bad.Counts(); out.Cut != 1 {
		t.Errorf("counted %+v, want one cut", out)
	}
}

func TestDeadlineAndCloseEndARead(t *testing.T) {
	leak.Check(t)
	bad, _ := pair(t, Config{})
	if err := bad.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 10)
	if _, _, err := bad.ReadFrom(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want a deadline", err)
	}
	if err := bad.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, _, err := bad.ReadFrom(buf)
		done <- err
	}()
	bad.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want closed", err)
	}
	if _, err := bad.WriteTo(buf, bad.LocalAddr()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after close gave %v", err)
	}
}
