package sfu

import (
	"errors"
	"io"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/transport/v5/packetio"
)

func testQueue() *inboundQueue {
	return newInboundQueue(newPacketPool(), &dropCounters{}, time.Now)
}

func TestPionMayPeekAtTheFirstPacketOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := testQueue()
		b := newTapBuffer(q, packetio.RTPBufferPacket, 1)
		got := make(chan []byte)
		failed := make(chan error, 1)
		go func() {
			p := make([]byte, 100)
			for {
				n, err := b.Read(p)
				if err != nil {
					failed <- err
					return
				}
				got <- slices.Clone(p[:n])
			}
		}()
		write(t, b, []byte("first"))
		write(t, b, []byte("second"))
		for range peekReads {
			if p := <-got; string(p) != "first" {
				t.Fatalf("read %q", p)
			}
		}
		synctest.Wait()
		select {
		case p := <-got:
			t.Fatalf("read %q once more", p)
		default:
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-failed; !errors.Is(err, io.EOF) {
			t.Fatalf("Close unblocks Read with %v", err)
		}
		if n := len(q.take(nil)); n != 2 {
			t.Fatalf("the worker gets %d packets, want both", n)
		}
	})
}

func write(t *testing.T, w io.Writer, p []byte) {
	t.Helper()
	if n, err := w.Write(p); n != len(p) || err != nil {
		t.Fatalf("wrote %d of %d: %v", n, len(p), err)
	}
}

func TestReadDeadlineEndsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTapBuffer(testQueue(), packetio.RTPBufferPacket, 1)
		for range 2 {
			began := time.Now()
			if err := b.SetReadDeadline(began.Add(time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != time.Second {
				t.Fatalf("after %v: %v", time.Since(began), err)
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestShortBufferIsAnError(t *testing.T) {
	b := newTapBuffer(testQueue(), packetio.RTPBufferPacket, 1)
	write(t, b, []byte("packet"))
	if _, err := b.Read(make([]byte, 3)); !errors.Is(err, io.ErrShortBuffer) {
		t.Fatal(err)
	}
}

func TestLateWritesAreHarmless(t *testing.T) {
	q := testQueue()
	b := newTapBuffer(q, packetio.RTPBufferPacket, 1)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, b, []byte("late"))
	open := newTapBuffer(q, packetio.RTCPBufferPacket, 1)
	q.close()
	write(t, open, []byte("later"))
	write(t, open, make([]byte, maxPacketSize+1))
	if n := len(q.take(nil)); n != 0 {
		t.Fatalf("%d packets in a closed queue", n)
	}
}

func TestFullQueueDropsTheNewestAndCounts(t *testing.T) {
	q := testQueue()
	b := newTapBuffer(q, packetio.RTPBufferPacket, 1)
	for i := range inboundDepth + 10 {
		write(t, b, []byte{byte(i)})
	}
	batch := q.take(nil)
	if len(batch) != inboundDepth || batch[0].pooled.buf[0] != 0 || q.drops.snapshot()["inbound_full"] != 10 {
		t.Fatalf("%d queued, drops %v", len(batch), q.drops.snapshot())
	}
}

func TestPoolGivesBuffersBack(t *testing.T) {
	pool := newPacketPool()
	for _, size := range []int{1, smallPacketSize, smallPacketSize + 1, maxPacketSize} {
		p := pool.get(size)
		p.packet.Keyframe, p.packet.Repaired = true, true
		p.packet.Retain()
		p.packet.Release()
		p.packet.Release()
		again := pool.get(size)
		if again != p || len(again.buf) != size || again.packet.Keyframe || again.packet.Repaired {
			t.Fatalf("size %d: got another or a used buffer", size)
		}
	}
}

func TestUnknownPacketsAreCountedByReason(t *testing.T) {
	s := newStage(t, "video")
	s.raw(rtp.Header{PayloadType: 33, SSRC: 5}, []byte{1})
	s.raw(rtp.Header{PayloadType: 33, SSRC: s.ssrc}, []byte{1})
	s.up.queue.put([]byte{1, 2, 3}, 5, false)
	for _, in := range s.up.queue.take(nil) {
		s.up.handle(&in)
	}
	s.track.end("left", s.clock.at)
	s.up.router.update(s.up.routes.Load())
	s.frame(true, false)
	want := map[string]uint64{"unknown_ssrc": 1, "payload_type": 1, "malformed": 1, "unpublished": 1}
	got := s.up.cfg.Drops.snapshot()
	for reason, n := range want {
		if got[reason] != n {
			t.Errorf("%s is counted %d times, want %d", reason, got[reason], n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("counted %v", got)
	}
}

func TestStreamsOfASessionAreBounded(t *testing.T) {
	s := newStage(t, "video")
	for ssrc := range uint32(3 * maxStreams) {
		s.raw(rtp.Header{PayloadType: 96, SSRC: 100_000 + ssrc}, []byte{0x10, 1})
	}
	if n := len(s.up.router.streams); n > maxStreams+2 {
		t.Fatalf("%d streams are known", n)
	}
	if s.up.cfg.Drops.snapshot()["too_many_streams"] != 2*maxStreams {
		t.Fatalf("drops %v", s.up.cfg.Drops.snapshot())
	}
}

// FuzzInbound gives the worker whatever a client could send.
func FuzzInbound(f *testing.F) {
	nack, err := (&rtcp.TransportLayerNack{MediaSSRC: 7777, Nacks: []rtcp.NackPair{{PacketID: 1}}}).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	media, err := (&rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 97, SSRC: 1112}, Payload: []byte{0, 1, 0x10, 0}}).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(nack, true)
	f.Add(media, false)
	f.Add([]byte{0x8F, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0x1E, 0x61, 0, 0, 0, 2, 0, 0, 0, 0, 0x20, 2, 4, 4}, true)
	f.Fuzz(func(t *testing.T, b []byte, isRTCP bool) {
		s, w := newStage(t, "video"), &wire{}
		d := s.subscriber(w, true)
		d.assign(s.track)
		s.up.bind(7777, d)
		s.frame(true, false)
		before := len(w.packets)
		write(t, newTapBuffer(s.up.queue, packetio.RTPBufferPacket, 5), b)
		s.up.queue.put(b, 7777, isRTCP)
		for _, in := range s.up.queue.take(nil) {
			s.up.handle(&in)
		}
		s.up.poll(s.clock.at)
		if len(w.packets) > before+resendBurst+2 {
			t.Fatalf("%d packets of one", len(w.packets)-before)
		}
	})
}

func FuzzUnwrapRTX(f *testing.F) {
	f.Add([]byte{1, 2, 3, 1}, true)
	f.Fuzz(func(t *testing.T, b []byte, padded bool) {
		payload, ok := trimPadding(b, padded)
		if ok && len(payload) > len(b) || ok && padded && len(payload) == len(b) {
			t.Fatalf("payload of %d bytes in a packet of %d", len(payload), len(b))
		}
		sequence, original, ok := unwrapRTX(payload)
		if ok && !slices.Equal(appendRTX(nil, sequence, original), payload) {
			t.Fatal("wrapped again it is another packet")
		}
	})
}
