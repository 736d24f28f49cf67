package e2e

import (
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"consilium/internal/auth"
	"consilium/internal/bot"
	"consilium/internal/lossy"
	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// badSocket is a media socket with 5 % loss of RTP and RTCP each way and 50 ms
// of round trip.
func badSocket(t *testing.T, seed uint64, onLoss func(lossy.Loss)) *lossy.Conn {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return lossy.Wrap(conn, lossy.Config{
		Seed: seed, LossOut: 0.05, LossIn: 0.05, RTT: 50 * time.Millisecond, MediaOnly: true, OnLoss: onLoss,
	})
}

// manyPackets has the camera send four packets a picture, so that many are lost
// soon. What follows the last partition of a VP8 frame is nothing to a decoder.
func manyPackets(t *testing.T, c *bot.Config) {
	t.Helper()
	clip, err := testmedia.LargeCamera()
	if err != nil {
		t.Fatal(err)
	}
	for i, frame := range clip.Frames {
		clip.Frames[i].Data = slices.Concat(frame.Data, make([]byte, 4000))
	}
	c.Clips = map[media.Source]*testmedia.Clip{media.Camera: clip}
}

// payloadVP8 is the payload type that bots send VP8 with; its retransmissions
// have another one.
const payloadVP8 = 96

// TestLossIsRepaired holds its calls at the same time: bots take little, and
// nothing else runs meanwhile.
func TestLossIsRepaired(t *testing.T) {
	for name, repaired := range map[string]func(*testing.T){
		"on the way in with few requests": lossOnTheWayIn,
		"on the way out from the cache":   lossOnTheWayOut,
		"on both ways without duplicates": lossOnBothWays,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repaired(t)
		})
	}
}

// leastLost is how many packets must be missing before a share of them counts.
// About one in a thousand is beyond repair, because its request or its
// retransmission is lost three times: one of 25 is still less than 5 %.
const leastLost = 25

// waitLost waits until a bot has pictures of the patient's camera for 10 s, and
// longer if too few packets were missing.
func waitLost(t *testing.T, l *lab, b *bot.Bot, lost func() int) {
	t.Helper()
	ctx := l.context(2 * patience)
	for frames := uint64(150); ; frames += 50 {
		l.must(b.WaitFrames(ctx, "patient", media.Camera, frames))
		if lost() >= leastLost {
			return
		}
	}
}

func missing(b *bot.Bot) func() int {
	return func() int {
		s := b.Snapshot()
		return int(s.From("patient", media.Camera).Missing)
	}
}

func lossOnTheWayIn(t *testing.T) {
	l := start(t, nil)
	var mu sync.Mutex
	lost := map[uint16]bool{}
	socket := badSocket(t, 1, func(loss lossy.Loss) {
		if loss.Out && loss.PayloadType == payloadVP8 {
			mu.Lock()
			defer mu.Unlock()
			lost[loss.Sequence] = true
		}
	})
	patient := l.bot("room", "patient", auth.RolePatient, func(c *bot.Config) { c.Socket = socket; manyPackets(t, c) })
	doctor := l.bot("room", "doctor", auth.RoleDoctor, nil)
	waitLost(t, l, doctor, func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(lost)
	})

	s, p := doctor.Snapshot(), patient.Snapshot()
	camera := s.From("patient", media.Camera)
	requested, worst := 0, 0
	for _, sent := range p.Sent {
		if sent.Source != media.Camera {
			continue
		}
		mu.Lock()
		for seq := range lost {
			if n := sent.NACKs[seq]; n > 0 {
				requested++
				worst = max(worst, n)
			}
		}
		mu.Unlock()
	}
	mu.Lock()
	total := len(lost)
	mu.Unlock()
	t.Logf("%d packets lost, %d of them asked for, at most %d times; the doctor: %d missing, %d repaired, %d lost, %d duplicates",
		total, requested, worst, camera.Missing, camera.Repaired, camera.Lost, camera.Duplicates)
	if worst > 3 {
		t.Errorf("a lost packet was asked for %d times, want at most 3", worst)
	}
	// What never arrives at the server is a gap that the doctor sees for ever.
	if repaired := 1 - float64(camera.Lost)/float64(total); repaired < 0.95 {
		t.Errorf("%.1f %% of the lost packets were repaired, want 95", repaired*100)
	}
	if camera.Duplicates > 0 {
		t.Errorf("the doctor got %d packets twice", camera.Duplicates)
	}
}

func lossOnTheWayOut(t *testing.T) {
	l := start(t, nil)
	l.bot("room", "patient", auth.RolePatient, func(c *bot.Config) { manyPackets(t, c) })
	doctor := l.bot("room", "doctor", auth.RoleDoctor, func(c *bot.Config) { c.Socket = badSocket(t, 2, nil) })
	waitLost(t, l, doctor, missing(doctor))
	s := doctor.Snapshot()
	camera := s.From("patient", media.Camera)
	quick := 0
	for _, wait := range camera.RepairTimes {
		if wait <= 500*time.Millisecond {
			quick++
		}
	}
	t.Logf("%d missing, %d repaired, %d within 500 ms, %d lost, %d retransmissions, %d duplicates",
		camera.Missing, camera.Repaired, quick, camera.Lost, camera.Retransmits, camera.Duplicates)
	if share := float64(quick) / float64(camera.Missing); share < 0.95 {
		t.Errorf("%.1f %% repaired within 500 ms, want 95", share*100)
	}
	// A bot's NACK generator sits before its RTX decoder: it asks for what was
	// repaired. The server knows better from the bot's transport-wide feedback.
	if camera.Duplicates > 0 {
		t.Errorf("the doctor got %d packets twice", camera.Duplicates)
	}
}

func lossOnBothWays(t *testing.T) {
	l := start(t, nil)
	l.bot("room", "patient", auth.RolePatient, func(c *bot.Config) { c.Socket = badSocket(t, 3, nil); manyPackets(t, c) })
	doctor := l.bot("room", "doctor", auth.RoleDoctor, func(c *bot.Config) { c.Socket = badSocket(t, 4, nil) })
	waitLost(t, l, doctor, missing(doctor))
	s := doctor.Snapshot()
	camera := s.From("patient", media.Camera)
	t.Logf("%d packets, %d missing, %d repaired, %d lost, %d duplicates",
		camera.Packets, camera.Missing, camera.Repaired, camera.Lost, camera.Duplicates)
	if share := float64(camera.Repaired) / float64(camera.Missing); share < 0.95 {
		t.Errorf("%.1f %% of what was missing came, want 95", share*100)
	}
	if camera.Duplicates > 0 {
		t.Errorf("the doctor got %d packets twice", camera.Duplicates)
	}
}
