package trial

import (
	"context"
	"errors"
	"fmt"
	"time"

	"consilium/internal/netlab"
)

const (
	// Limit is how long picture and sound may take, both ways, from the moment
	// a person joins.
	Limit = 10 * time.Second
	// verdictLimit is how long a code may take, from the answer.
	verdictLimit = 10 * time.Second
	// extra is how much longer an attempt is watched, to say how late it was.
	extra = 10 * time.Second

	lookPeriod = 50 * time.Millisecond
	// downTime is how long a killed server stays away.
	downTime = time.Second
	// settled is how long streams must flow before and after an event.
	settled = 2 * time.Second
	// eventLimit is how long media may be gone after an event, before it is
	// given up.
	eventLimit = 40 * time.Second
)

// Result of one attempt. Durations are from the moment the patient joins.
type Result struct {
	Err error // the attempt itself broke

	Connected bool // picture and sound both ways within Limit
	Path      string
	// PatientSees and DoctorSees are when picture and sound had come; 0: never.
	PatientSees, DoctorSees time.Duration
	// Gap is the longest time without one of the four streams after the
	// profile's event, and Back whether they flowed again.
	Gap  time.Duration
	Back bool

	// Where there is no path: codes at each end, and at the webhook receiver.
	// Each delay is from the patient's answer.
	PatientCodes, DoctorCodes []string
	WebhookCode               string
	WebhookAfter              time.Duration
	PatientAfter, DoctorAfter time.Duration
}

// pair is both ends of a call.
type pair struct{ patient, doctor person }

// Try holds one call, with a room of its own.
func (s *Site) Try(ctx context.Context, kind Kind) (r Result) {
	s.rooms++
	room := fmt.Sprintf("room-%d", s.rooms)
	doctor, err := s.doctor(room)
	if err != nil {
		return Result{Err: err}
	}
	// Leaving is part of no result: who has lost his connection can't.
	defer func() { _ = doctor.leave(context.WithoutCancel(ctx)) }()
	if err := waitAnswered(ctx, doctor); err != nil {
		return Result{Err: fmt.Errorf("doctor: %w", err)}
	}
	patient, err := s.patient(ctx, room, kind)
	if patient != nil {
		defer func() { _ = patient.leave(context.WithoutCancel(ctx)) }()
	}
	if err != nil {
		return Result{Err: fmt.Errorf("patient: %w", err)}
	}
	p := pair{patient, doctor}
	if len(s.Lab.Profile.Paths) == 0 {
		return s.watchVerdict(ctx, p, room)
	}
	r = p.watchMedia(ctx)
	if r.Connected && s.Lab.Profile.Event != "" {
		r.Gap, r.Back, r.Err = s.watchEvent(ctx, p)
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
func (p pair) watchMedia(ctx context.Context) (r Result) {
	r.Err = poll(ctx, lookPeriod, func() (bool, error) {
		patient, doctor, err := p.status(ctx)
		if err != nil {
			return false, err
		}
		r.Path = patient.Path
		r.PatientCodes, r.DoctorCodes = patient.Codes(), doctor.Codes()
		r.PatientSees, r.DoctorSees = sinceJoin(patient, patient.Began), sinceJoin(doctor, patient.Began)
		both := r.PatientSees > 0 && r.DoctorSees > 0
		r.Connected = both && max(r.PatientSees, r.DoctorSees) <= Limit
		return both && r.Path != "" || time.Since(patient.Began) > Limit+extra, nil
	})
	return r
}

// sinceJoin is when one end had picture and sound; 0: not yet.
func sinceJoin(s Status, began time.Time) time.Duration {
	if !s.complete() {
		return 0
	}
	at := s.Video.First
	if s.Audio.First.After(at) {
		at = s.Audio.First
	}
	return max(at.Sub(began), time.Millisecond)
}

// watchVerdict waits for the codes of a call that cannot be.
func (s *Site) watchVerdict(ctx context.Context, p pair, room string) (r Result) {
	r.Err = poll(ctx, lookPeriod, func() (bool, error) {
		patient, doctor, err := p.status(ctx)
		if err != nil {
			return false, err
		}
		r.Connected = patient.complete() || doctor.complete()
		r.PatientCodes, r.DoctorCodes = patient.Codes(), doctor.Codes()
		if !patient.Answered.IsZero() {
			r.PatientAfter, r.DoctorAfter = firstTold(patient, patient.Answered), firstTold(doctor, patient.Answered)
			if n, ok := s.receiver.failure(room, "patient"); ok {
				r.WebhookCode, r.WebhookAfter = n.Code, n.Arrived.Sub(patient.Answered)
			}
		}
		all := r.WebhookCode != "" && len(r.PatientCodes) > 0 && len(r.DoctorCodes) > 0
		return all || time.Since(patient.Began) > verdictLimit+extra, nil
	})
	return r
}

func firstTold(s Status, answered time.Time) time.Duration {
	if len(s.Told) == 0 {
		return 0
	}
	return s.Told[0].Time.Sub(answered)
}

// RightVerdict reports whether everybody was told the code in time.
func (r Result) RightVerdict(code string) bool {
	said := func(codes []string, after time.Duration) bool {
		return len(codes) > 0 && codes[0] == code && after <= verdictLimit+tolerance
	}
	return said(r.PatientCodes, r.PatientAfter) && said(r.DoctorCodes, r.DoctorAfter) && said([]string{r.WebhookCode}, r.WebhookAfter)
}

// tolerance is the way from the server's clock to the receiver and back.
const tolerance = 500 * time.Millisecond

// watchEvent lets the profile's event happen and waits until all streams flow
// again.
func (s *Site) watchEvent(ctx context.Context, p pair) (gap time.Duration, back bool, err error) {
	w := &flowWatch{}
	if err := w.follow(ctx, p, settled, settled+Limit); err != nil {
		return 0, false, fmt.Errorf("before the event: %w", err)
	}
	w.reset()
	if err := s.happen(ctx, p); err != nil {
		return 0, false, err
	}
	err = w.follow(ctx, p, settled, eventLimit)
	return w.gap, err == nil, nil
}

func (s *Site) happen(ctx context.Context, p pair) error {
	switch s.Lab.Profile.Event {
	case netlab.RebindEvent:
		return s.Lab.Rebind(ctx)
	case netlab.HandoverEvent:
		if err := s.Lab.Handover(ctx); err != nil {
			return err
		}
		return p.patient.networkChanged()
	case netlab.RestartEvent:
		if err := s.server.kill(); err != nil {
			return err
		}
		timer := time.NewTimer(downTime)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		return s.server.start(ctx)
	}
	return nil
}
