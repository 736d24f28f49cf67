package recorder

import (
	"context"
	"os"
	"testing"
	"time"

	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// BenchmarkFinaliseOneHourOfSound is the longest sound of one file.
func BenchmarkFinaliseOneHourOfSound(b *testing.B) {
	root, err := os.OpenRoot(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	packet := make([]byte, 80) // 32 kbit/s
	packet[0] = 31<<3 | 4
	blocks := make([]block, 180_000)
	for i := range blocks {
		blocks[i] = block{ms: int64(i) * 20, keyframe: true, data: packet}
	}
	data := spoolOf(b, format{Codec: media.Opus, TrackUID: 1}, blocks)
	if err := root.WriteFile("p1-mic-1.webm", data, fileMode); err != nil {
		b.Fatal(err)
	}
	if err := root.Mkdir("out", dirMode); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (finaliser{root: root, create: createFile}).run(context.Background(), "p1-mic-1.webm", "out", nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRecordPacket is the cost of a packet of a track, disk included.
func BenchmarkRecordPacket(b *testing.B) {
	for name, load := range map[string]func() (*testmedia.Clip, error){"sound": testmedia.Beep, "video": testmedia.LargeCamera} {
		b.Run(name, func(b *testing.B) {
			s := newStudio(b, b.TempDir())
			r := s.arm()
			described := camTrack("anna")
			if name == "sound" {
				described = micTrack("anna")
			}
			src := newSource(b, load)
			begin := time.Now()
			sink := r.Track(described, nil).(*track)
			packets := src.between(0, time.Duration(b.N/10+9)*time.Second)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				p := packets[i].packet
				p.Arrival = begin.Add(packets[i].at)
				sink.packets <- p // waits, where WritePacket would drop
				p.Retain()
			}
			sink.End(media.EndLeft, time.Now())
			r.wg.Wait()
			b.StopTimer()
			r.End(time.Now())
			s.close()
		})
	}
}
