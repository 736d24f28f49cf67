package trial

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// Limit is how long picture and sound may take, both ways, from the moment
	// a person joins.
	Limit = 10 * time.Second
	// extra is how much longer an attempt is watched, to say how late it was.
	extra = 10 * time.Second

	lookPeriod = 50 * time.Millisecond
)

// Result of one attempt. Durations are from the moment the patient joins.
type Result struct {
	Broken string `json:",omitempty"` // why the attempt itself could not be made

	Connected bool   // picture and sound both ways within Limit
	Path      string `json:",omitempty"`
	// PatientFrame and DoctorFrame are when the first frame was decoded, and
	// Both when picture and sound had come on either side; 0: never.
	PatientFrame, DoctorFrame, Both time.Duration

	// Gap is the longest time without one of the four streams after the
	// profile's event, and Back whether they flowed again.
	Gap  time.Duration `json:",omitempty"`
	Back bool          `json:",omitempty"`
	// Held: the NAT still had the mapping after an IdleEvent.
	Held bool `json:",omitempty"`

	// Where there is no path: codes at each end, and at the webhook receiver.
	// Each delay is from the patient's answer.
	PatientCodes, DoctorCodes []string      `json:",omitempty"`
	WebhookCode               string        `json:",omitempty"`
	WebhookAfter              time.Duration `json:",omitempty"`
	PatientAfter, DoctorAfter time.Duration `json:",omitempty"`
}

// pair is both ends of a call, and the path of its media once that is known.
type pair struct {
	patient, doctor person
	path            string
}

// Try holds n calls at the same time, each in a room of its own. If the network
// has an event, it happens once, to all of them.
func (s *Site) Try(ctx context.Context, kind Kind, n int) []Result {
	if err := s.prepare(ctx, kind); err != nil {
		return broken(n, err)
	}
	results, all := make([]Result, n), newGathering(n, s.happen)
	var wg sync.WaitGroup
	wg.Go(func() { all.run(ctx) })
	for i := range results {
		wg.Go(func() { results[i] = s.call(ctx, kind, &place{g: all}) })
	}
	wg.Wait()
	return results
}

func broken(n int, err error) []Result {
	results := make([]Result, n)
	for i := range results {
		results[i].Broken = err.Error()
	}
	return results
}

// call holds one call.
func (s *Site) call(ctx context.Context, kind Kind, at *place) (r Result) {
	defer at.giveUp() // the others need not wait for a call that failed
	room := s.nextRoom()
	doctor, err := s.doctor(room)
	if err != nil {
		return Result{Broken: err.Error()}
	}
	// Leaving is part of no result: who has lost his connection can't.
	defer func() { _ = doctor.leave(context.WithoutCancel(ctx)) }()
	if err := waitAnswered(ctx, doctor); err != nil {
		return Result{Broken: fmt.Sprintf("doctor: %v", err)}
	}
	patient, err := s.patient(ctx, room, kind)
	if patient != nil {
		defer func() { _ = patient.leave(context.WithoutCancel(ctx)) }()
	}
	if err != nil {
		return Result{Broken: fmt.Sprintf("patient: %v", err)}
	}
	p := pair{patient: patient, doctor: doctor}
	if len(s.Lab.Profile.Paths) == 0 {
		r, err = s.watchVerdict(ctx, p, room)
	} else {
		r, err = p.watchMedia(ctx)
		p.path = r.Path
		if err == nil && r.Connected && s.Lab.Profile.Event != "" {
			err = s.watchEvent(ctx, p, at, &r)
		}
	}
	if err != nil {
		r.Broken = err.Error()
	}
	return r
}

func waitAnswered(ctx context.Context, p person) error {
	deadline := time.Now().Add(Limit)
	return poll(ctx, lookPeriod, func() (bool, error) {
		s, err := p.status(ctx)
		if err == nil && s.Answered.IsZero() && time.Now().After(deadline) {
			err = fmt.Errorf("not answered: %s", s.Error)
		}
		return !s.Answered.IsZero(), err
	})
}

// poll calls f until it says that it is done or fails.
func poll(ctx context.Context, period time.Duration, f func() (bool, error)) error {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		if done, err := f(); done || err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p pair) status(ctx context.Context) (patient, doctor Status, err error) {
	patient, err = p.patient.status(ctx)
	doctor, errDoctor := p.doctor.status(ctx)
	return patient, doctor, errors.Join(err, errDoctor)
}

// watchMedia waits for picture and sound both ways.
func (p pair) watchMedia(ctx context.Context) (r Result, err error) {
	err = poll(ctx, lookPeriod, func() (bool, error) {
		patient, doctor, err := p.status(ctx)
		if err != nil {
			return false, err
		}
		r.Path = patient.Path
		r.PatientCodes, r.DoctorCodes = patient.Codes(), doctor.Codes()
		r.PatientFrame, r.DoctorFrame = after(patient.Began, patient.Video.First), after(patient.Began, doctor.Video.First)
		both := patient.complete() && doctor.complete()
		if both {
			r.Both = max(r.PatientFrame, r.DoctorFrame, after(patient.Began, patient.Audio.First), after(patient.Began, doctor.Audio.First))
		}
		r.Connected = both && r.Both <= Limit
		return both && r.Path != "" || time.Since(patient.Began) > Limit+extra, nil
	})
	return r, err
}

// after is when something came, at least 1 ms; 0: not yet.
func after(began, at time.Time) time.Duration {
	if at.IsZero() {
		return 0
	}
	return max(at.Sub(began), time.Millisecond)
}
