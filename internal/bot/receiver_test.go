package bot

import (
	"fmt"
	"testing"
	"time"

	"github.com/pion/rtp"

	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// feed gives a receiver packets with these sequence numbers, 10 ms apart.
func feed(r *receiver, begin time.Time, seqs ...uint16) {
	for i, seq := range seqs {
		packet := &rtp.Packet{Header: rtp.Header{SequenceNumber: seq, Marker: true}, Payload: []byte{0x10, 1}}
		r.take(received{packet: packet, at: begin.Add(time.Duration(i) * 10 * time.Millisecond)})
	}
}

func TestSequenceNumbersTellDuplicatesGapsAndRepairs(t *testing.T) {
	for name, test := range map[string]struct {
		seqs []uint16
		want TrackStats
	}{
		"in order":            {[]uint16{1, 2, 3}, TrackStats{Packets: 3}},
		"across the wrap":     {[]uint16{65534, 65535, 0, 1}, TrackStats{Packets: 4}},
		"twice":               {[]uint16{1, 2, 2, 1, 3}, TrackStats{Packets: 3, Duplicates: 2}},
		"gap":                 {[]uint16{1, 4}, TrackStats{Packets: 2, Missing: 2}},
		"gap filled":          {[]uint16{1, 4, 3, 2}, TrackStats{Packets: 4, Missing: 2, Repaired: 2}},
		"gap across the wrap": {[]uint16{65535, 1, 0}, TrackStats{Packets: 3, Missing: 1, Repaired: 1}},
		"filled twice":        {[]uint16{1, 3, 2, 2}, TrackStats{Packets: 3, Duplicates: 1, Missing: 1, Repaired: 1}},
		"before the first":    {[]uint16{10, 9, 11}, TrackStats{Packets: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver("0")
			feed(r, time.Now(), test.seqs...)
			got := r.stats()
			if got.Packets != test.want.Packets || got.Duplicates != test.want.Duplicates ||
				got.Missing != test.want.Missing || got.Repaired != test.want.Repaired {
				t.Errorf("got %d packets, %d duplicates, %d missing, %d repaired; want %d, %d, %d, %d",
					got.Packets, got.Duplicates, got.Missing, got.Repaired,
					test.want.Packets, test.want.Duplicates, test.want.Missing, test.want.Repaired)
			}
		})
	}
}

func TestALateRepairCountsAsLost(t *testing.T) {
	r, begin := newReceiver("0"), time.Now()
	feed(r, begin, 1, 3)
	feed(r, begin.Add(1500*time.Millisecond), 2)
	feed(r, begin.Add(2*time.Second), 5)
	feed(r, begin.Add(5*time.Second), 6)
	if s := r.stats(); s.Lost != 2 || s.Repaired != 0 || len(s.RepairTimes) != 1 {
		t.Errorf("got %d lost, %d repaired, waits %v; want 2, 0 and one wait", s.Lost, s.Repaired, s.RepairTimes)
	}
}

func TestASeatThatChangesHandsCountsForTheNewTrack(t *testing.T) {
	r := newReceiver("0")
	r.kind = media.Video
	r.current = "first"
	feed(r, time.Now(), 1, 2)
	r.current = "second"
	feed(r, time.Now(), 3, 4, 5)
	if first, second := r.tracks["first"], r.tracks["second"]; first.Packets != 2 || second.Packets != 3 {
		t.Errorf("got %d and %d packets, want 2 and 3", first.Packets, second.Packets)
	}
}

func TestAReportTellsOnlyOfWhoSitsThereNow(t *testing.T) {
	p := &peer{receivers: map[string]*receiver{}}
	for n := range 1000 { // visits
		p.assign("0", fmt.Sprintf("track-%d", n))
		feed(p.receivers["0"], time.Now(), uint16(2*n+1), uint16(2*n+2))
	}
	b := &Bot{peer: p}
	if got := b.report().Decoded; len(got) != 1 || got["track-999"].Samples != 2*960 {
		t.Errorf("after a thousand visits it tells of %d tracks", len(got))
	}
	if got := len(p.tracks()); got != 1000 {
		t.Errorf("%d tracks are counted", got)
	}
	p.assign("0", "")
	if got := b.report().Decoded; len(got) != 0 {
		t.Errorf("an empty seat is reported: %v", got)
	}
}

func TestKeyframesOfRealMediaAreRecognised(t *testing.T) {
	clip, err := testmedia.Camera()
	if err != nil {
		t.Fatal(err)
	}
	player, err := testmedia.NewPlayer(testmedia.Config{Clip: clip, Start: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan []byte, 1)
	enough := player.Run(t.Context(), func(p *rtp.Packet) error {
		first <- p.Payload
		return errEnded
	})
	if enough == nil || !startsKeyframe(<-first) {
		t.Error("the first packet of the clip is not seen as a keyframe")
	}
	for name, payload := range map[string][]byte{
		"empty": {}, "only a descriptor": {0x10}, "continuation": {0x00, 0x10}, "delta frame": {0x10, 0x11},
		"cut extension": {0x90}, "cut picture id": {0x90, 0x80}, "cut long picture id": {0x90, 0x80, 0x80},
	} {
		if startsKeyframe(payload) {
			t.Errorf("%s is taken for a keyframe", name)
		}
	}
}
