package server

import (
	"context"
	"errors"
	"maps"
	"slices"

	"consilium/internal/auth"
	"consilium/internal/event"
	"consilium/internal/media"
	"consilium/recorder"
	"consilium/sfu"
	"consilium/signaling"
)

// recorderAdapter makes an sfu.Recorder of a recorder.Recorder. The packages
// don't know each other, so the concrete type meets the interface here.
type recorderAdapter struct{ *recorder.Recorder }

func (a recorderAdapter) Arm(ctx context.Context, call media.Call) (sfu.Recording, error) {
	if event.InPrecheck(call.Room) {
		return unrecorded{}, nil
	}
	r, err := a.Recorder.Arm(ctx, call)
	if refused, ok := errors.AsType[*recorder.Error](err); ok {
		return nil, &sfu.CodedError{Code: refused.Code, Err: err}
	}
	if err != nil {
		return nil, err // not r: a nil pointer is no nil interface
	}
	return r, nil
}

// authenticator tells signalling who the bearer of a token is.
type authenticator struct{ authority *auth.Authority }

func (a authenticator) Verify(_ context.Context, token string) (signaling.Claims, error) {
	claims, err := a.authority.VerifyJoin(token)
	if err != nil {
		return signaling.Claims{}, a.refusal(token, err)
	}
	return signaling.Claims{Person: person(claims), Grants: claims.Grants.Names()}, nil
}

// refusal says why a token was refused, and whose it is: for certain if only
// its time is wrong.
func (a authenticator) refusal(token string, err error) *signaling.TokenError {
	e := &signaling.TokenError{Code: event.TokenBad, Err: err}
	if refused, ok := errors.AsType[*auth.Error](err); ok {
		e.Code, e.Forbidden = refused.Code, refused.Forbidden()
	}
	if e.Code != event.TokenBad {
		if claims, err := a.authority.VerifyIdentity(token); err == nil {
			e.Person = person(claims)
			return e
		}
	}
	e.Claimed.Room, e.Claimed.Identity = auth.Claimed(token)
	return e
}

// located adds to the events of people who are in no session what is known of
// the call in their room.
type located struct {
	next event.Sink
	sfu  *sfu.Server
}

func (l located) Emit(e event.Event) {
	call, ok := l.sfu.CallIn(e.Room)
	if e.Call == "" && ok {
		e.Call, e.ExternalID, e.Metadata = call.ID, call.ExternalID, call.Metadata
		there := slices.ContainsFunc(call.Participants, func(p sfu.ParticipantInfo) bool { return p.Identity == e.Participant })
		if _, says := e.Data["present"]; says && there {
			e.Data = maps.Clone(e.Data)
			e.Data["present"] = true // another session of his lives
		}
	}
	l.next.Emit(e)
}

func person(c auth.Claims) sfu.Person {
	return sfu.Person{
		Room: c.Room, Identity: c.Subject, Name: c.Name, Role: string(c.Role), Lang: c.Lang,
		Grants: sfu.Grants{
			PublishAudio:  c.Grants.Has(auth.PublishAudio),
			PublishVideo:  c.Grants.Has(auth.PublishVideo),
			PublishScreen: c.Grants.Has(auth.PublishScreen),
			Subscribe:     c.Grants.Has(auth.Subscribe),
			Admit:         c.Grants.Has(auth.Admit),
			Mute:          c.Grants.Has(auth.Mute),
			Remove:        c.Grants.Has(auth.Remove),
			End:           c.Grants.Has(auth.End),
		},
	}
}
