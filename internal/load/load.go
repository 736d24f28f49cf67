// Package load puts synthetic participants on a server and says what came of
// it: who joined and who did not and why, what was sent, received and lost, how
// long packets took, and what the server and this machine spent on it.
//
// The participants are bots in real calls: a server that records records them.
package load

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/pion/rtp"

	"consilium/internal/bot"
	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/internal/testmedia"
)

// Bounds of a Config: one machine and one process make the load.
const (
	MaxPeople   = 500
	MaxDuration = time.Hour
	MaxBitrate  = 10_000 // kbit/s
)

// joinTime is how long somebody may take from the first message to media.
const joinTime = 15 * time.Second

// leaveTime is how long leaving may take; then the sockets are closed.
const leaveTime = 5 * time.Second

// Config of a Run.
type Config struct {
	URL   string         // of the server: https://host[:port]
	Roots *x509.CertPool // whom to trust; nil: the system's
	// Mint makes a join token.
	Mint func(room, identity string) (string, error)
	// Metrics reads the server's metrics, by name; nil: nobody may.
	Metrics func(context.Context) (map[string]float64, error)

	Rooms, Participants int           // calls, and people in each
	Duration            time.Duration // from when the last one has joined
	JoinRate            float64       // joins a second
	Video, Audio        int           // kbit/s of each camera and microphone; 0: none
}

// Check finds values that can't be used; the error says what to take.
func (c Config) Check() error {
	switch {
	case c.Rooms < 1 || c.Participants < 1 || c.Rooms > MaxPeople || c.Participants > MaxPeople || c.Rooms*c.Participants > MaxPeople:
		return fmt.Errorf("%d rooms of %d people; take at least one of each and at most %d people in all", c.Rooms, c.Participants, MaxPeople)
	case c.Duration < time.Second || c.Duration > MaxDuration:
		return fmt.Errorf("duration %v; take 1s to %v", c.Duration, MaxDuration)
	case c.JoinRate < 0.1 || c.JoinRate > 1000:
		return fmt.Errorf("%v joins a second; take 0.1 to 1000", c.JoinRate)
	case c.Video < 0 || c.Video > MaxBitrate || c.Audio < 0 || c.Audio > 510:
		return fmt.Errorf("%d kbit/s of video and %d of audio; take 0 to %d and 0 to 510", c.Video, c.Audio, MaxBitrate)
	case c.Video > 0 && c.Video < 50 || c.Audio > 0 && c.Audio < 6:
		return fmt.Errorf("%d kbit/s of video and %d of audio; take at least 50 and 6, or 0 for none", c.Video, c.Audio)
	case c.Video+c.Audio == 0:
		return errors.New("neither video nor audio; give one a bit rate")
	}
	return nil
}

// Run joins everybody, lets them talk, lets them leave and returns when all
// have. It ends early, with what it has, when ctx does.
func Run(ctx context.Context, cfg Config) (Report, error) {
	if err := cfg.Check(); err != nil {
		return Report{}, err
	}
	r := &run{cfg: cfg, meter: newMeter(), clips: clips(cfg)}
	if cfg.Roots != nil {
		r.tls = &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12}
	}
	defer r.leave()
	if err := r.join(ctx); err != nil {
		return Report{}, err
	}
	r.settle(ctx)
	before := r.costs(ctx)
	r.meter.begin()
	begun := time.Now()
	select {
	case <-time.After(cfg.Duration):
	case <-ctx.Done():
	}
	measured := time.Since(begun)
	count := r.meter.end()
	after := r.costs(context.WithoutCancel(ctx))
	return r.report(count, measured, before, after), nil
}

// run is one Run.
type run struct {
	cfg    Config
	tls    *tls.Config // nil: the system's roots
	meter  *meter
	clips  map[media.Source]*testmedia.Clip
	people []*person
	wg     sync.WaitGroup // of the bots
	cancel []context.CancelFunc
}

// person is one participant.
type person struct {
	*bot.Bot
	begun time.Time
}

// join lets everybody in, no faster than the rate.
func (r *run) join(ctx context.Context) error {
	pace := time.NewTicker(time.Duration(float64(time.Second) / r.cfg.JoinRate))
	defer pace.Stop()
	mark := strings.ToLower(rand.Text()[:6])
	for i := range r.cfg.Rooms * r.cfg.Participants {
		room := fmt.Sprintf("load-%s-%d", mark, i%r.cfg.Rooms)
		identity := fmt.Sprintf("bot-%d", i/r.cfg.Rooms)
		token, err := r.cfg.Mint(room, identity)
		if err != nil {
			return fmt.Errorf("make a token: %w", err)
		}
		if err := r.enter(token); err != nil {
			return err
		}
		select {
		case <-pace.C:
		case <-ctx.Done():
			return nil // report what there is
		}
	}
	return nil
}

// enter starts one participant.
func (r *run) enter(token string) error {
	publish := []media.Source{}
	for source := range r.clips {
		publish = append(publish, source)
	}
	b, err := bot.New(bot.Config{
		URL: r.cfg.URL, Token: token, TLS: r.tls, Publish: publish, Clips: r.clips, Persons: max(1, r.cfg.Participants-1),
		OnSend:   func(_ media.Source, p *rtp.Packet) { r.meter.stamp(p.Payload) },
		OnPacket: func(_ string, p *rtp.Packet, at time.Time) { r.meter.received(p.Payload, at) },
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background()) // leaving is said, not cut off
	r.people, r.cancel = append(r.people, &person{b, time.Now()}), append(r.cancel, cancel)
	r.wg.Go(func() { _ = b.Run(ctx) }) // the error is in b.Err
	return nil
}

// settle waits until everybody is connected or has had the time to be.
func (r *run) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	for _, p := range r.people {
		_ = p.WaitConnected(ctx) // outcome looks at what came of it
	}
}

// leave lets everybody go and waits for it.
func (r *run) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	var leaving sync.WaitGroup
	for _, p := range r.people {
		leaving.Go(func() { _ = p.Leave(ctx) }) // who can't is cut off below
	}
	leaving.Wait()
	for _, cancel := range r.cancel {
		cancel()
	}
	r.wg.Wait()
}

// outcome says why somebody has no media; "" if he has.
func (r *run) outcome(s bot.Snapshot, err error) event.Code {
	if refused := (*bot.Error)(nil); errors.As(err, &refused) {
		return event.Code(refused.Code)
	}
	switch {
	case s.Welcome.Session == "":
		return event.SignalLost
	case s.Connected.IsZero():
		return event.NoRoute
	case s.Ended != nil || err != nil:
		return event.SignalLost
	case r.cfg.Participants > 1 && len(s.Received) == 0:
		return event.NoMediaIn
	}
	return ""
}
