package recorder

import (
	"testing"
	"time"

	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// discard is a file nobody reads.
type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) Sync() error                 { return nil }
func (discard) Close() error                { return nil }

// packetPath returns a function that takes one packet from a track's queue to
// its file, as the track's goroutine does: the clip over and over.
func packetPath(t testing.TB, about media.Track, load func() (*testmedia.Clip, error)) (one func(), written func() int64) {
	k := newTrack(&Recording{}, about, nil)
	s, err := newSpool(discard{}, spoolHeader{Format: format{Codec: about.Codec}})
	if err != nil {
		t.Fatal(err)
	}
	w := &segmentWriter{track: k, spool: s, format: format{Codec: about.Codec}}
	src := newSource(t, load)
	packets := src.between(0, src.clip.Duration)
	begin, count := time.Now(), int64(len(packets))
	ticks := uint32(int64(src.clip.Duration) * int64(src.clip.ClockRate) / int64(time.Second))
	next := 0
	return func() {
		p := packets[next%len(packets)].packet
		round := time.Duration(next/len(packets)) * src.clip.Duration
		p.Arrival = begin.Add(round + packets[next%len(packets)].at)
		next++
		k.assembler.push(p)
		for {
			f, ok := k.assembler.pop(p.Arrival)
			if !ok {
				break
			}
			for _, f := range k.timeline.push(f) {
				if err := w.write(f, false); err != nil {
					t.Fatal(err)
				}
			}
		}
		p.Retain()
		p.Sequence, p.Header.Timestamp = p.Sequence+count, p.Header.Timestamp+ticks
	}, func() int64 { return s.written }
}

// BenchmarkPacketToSpool is the cost of a packet in the track's goroutine,
// without the disk.
func BenchmarkPacketToSpool(b *testing.B) {
	b.Run("sound", func(b *testing.B) { benchmarkPath(b, micTrack("anna"), testmedia.Beep) })
	b.Run("video", func(b *testing.B) { benchmarkPath(b, camTrack("anna"), testmedia.LargeCamera) })
}

func benchmarkPath(b *testing.B, about media.Track, load func() (*testmedia.Clip, error)) {
	one, _ := packetPath(b, about, load)
	b.ReportAllocs()
	for b.Loop() {
		one()
	}
}
