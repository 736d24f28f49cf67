package attack

import (
	"fmt"
	"testing"
	"time"

	"consilium/internal/bot"
	"consilium/internal/media"
	"consilium/internal/testserver"
)

// join runs a bot until the test ends.
func (c *child) join(room, identity, role string, change func(*bot.Config)) *bot.Bot {
	c.t.Helper()
	cfg := bot.Config{URL: c.URL, Token: token(c.t, room, identity, role)}
	if change != nil {
		change(&cfg)
	}
	return testserver.Join(c.t, cfg)
}

// pair is two people who see and hear each other while others attack.
type pair struct {
	t               *testing.T
	doctor, patient *bot.Bot
	quiet           string // figures of the call before the first attack
}

// call starts one; change may alter the patient.
func (c *child) call(change func(*bot.Config)) *pair {
	c.t.Helper()
	p := &pair{
		t:       c.t,
		doctor:  c.join("call", "doctor", "doctor", nil),
		patient: c.join("call", "patient", "patient", change),
	}
	p.wantMedia()
	return p
}

// wantMedia checks that media flows both ways, now.
func (p *pair) wantMedia() {
	p.t.Helper()
	ctx := within(p.t, 30*time.Second)
	for _, from := range []struct {
		name string
		to   *bot.Bot
	}{{"patient", p.doctor}, {"doctor", p.patient}} {
		for _, source := range []media.Source{media.Microphone, media.Camera} {
			s := from.to.Snapshot()
			if err := from.to.WaitFrames(ctx, from.name, source, s.From(from.name, source).Frames+5); err != nil {
				p.t.Fatalf("no %s from %s: %v", source, from.name, err)
			}
		}
	}
}

// counts are the packets of a call, both ways and all sources.
type counts struct{ packets, lost uint64 }

func (p *pair) counts() counts {
	var sum counts
	for _, b := range []*bot.Bot{p.doctor, p.patient} {
		s := b.Snapshot()
		for _, track := range s.Received {
			sum.packets += track.Packets
			sum.lost += track.Lost
		}
	}
	return sum
}

// settle is when a packet that was missing has been repaired or is lost.
const settle = 2500 * time.Millisecond

// figures are what a call carries and loses in a window of time.
type figures struct{ rate, loss float64 }

func (f figures) String() string {
	return fmt.Sprintf("%.0f packets/s, %.2f %% lost", f.rate, f.loss)
}

// during runs f and returns the figures of the call meanwhile.
func (p *pair) during(f func()) figures {
	before, begin := p.counts(), time.Now()
	f()
	pause(settle)
	now := p.counts()
	packets, lost := now.packets-before.packets, now.lost-before.lost
	return figures{
		rate: float64(packets) / time.Since(begin).Seconds(),
		loss: 100 * float64(lost) / float64(max(packets+lost, 1)),
	}
}

// measure runs attack and checks that the call loses less than 1 % meanwhile.
// It writes the figures before and during the attack to the test's log.
func (p *pair) measure(what string, attack func()) {
	p.t.Helper()
	if p.quiet == "" {
		p.quiet = p.during(func() {}).String()
	}
	under := p.during(attack)
	p.t.Logf("%s: before %s; during %s", what, p.quiet, under)
	if under.loss >= 1 {
		p.t.Errorf("%s: the call has lost %.2f %% of its packets, want less than 1 %%", what, under.loss)
	}
	p.wantMedia()
}
