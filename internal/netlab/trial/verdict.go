package trial

import (
	"context"
	"time"

	"consilium/internal/netlab"
)

// verdictLimit is how long a code may take, from the answer to the patient.
const verdictLimit = 10 * time.Second

// watchVerdict waits for the codes of a call that cannot be.
func (s *Site) watchVerdict(ctx context.Context, p pair, room string) (r Result, err error) {
	err = poll(ctx, lookPeriod, func() (bool, error) {
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
	return r, err
}

func firstTold(s Status, answered time.Time) time.Duration {
	if len(s.Told) == 0 {
		return 0
	}
	return s.Told[0].Time.Sub(answered)
}

// RightVerdict reports whether everybody was told the code, as the first one
// and in time.
func (r Result) RightVerdict(code string) bool {
	said := func(codes []string, after time.Duration) bool {
		return len(codes) > 0 && codes[0] == code && after <= verdictLimit
	}
	return said(r.PatientCodes, r.PatientAfter) && said(r.DoctorCodes, r.DoctorAfter) && said([]string{r.WebhookCode}, r.WebhookAfter)
}

// Good reports whether an attempt ended as it must for a client in a network.
func (r Result) Good(p netlab.Profile, kind Kind) bool {
	switch {
	case r.Broken != "":
		return false
	case len(p.Paths) == 0:
		return !r.Connected && r.RightVerdict(p.Code)
	case p.Event == "":
		return r.Connected
	case p.Event == netlab.IdleEvent && !r.Held:
		return false
	}
	return r.Connected && r.Back && r.Gap <= gapLimit(p.Event, kind)
}

// gapLimit is how long media may be gone after an event.
func gapLimit(e netlab.Event, kind Kind) time.Duration {
	switch {
	case e == netlab.RestartEvent:
		return eventLimit // as long as it comes back by itself
	case kind == Chromium:
		return 5 * time.Second
	}
	return 8 * time.Second
}
