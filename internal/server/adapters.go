package server

import (
	"context"
	"errors"
	"io/fs"

	"consilium/internal/api"
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
		e := &signaling.TokenError{Code: event.TokenBad, Err: err}
		if refused, ok := errors.AsType[*auth.Error](err); ok {
			e.Code, e.Forbidden = refused.Code, refused.Forbidden()
		}
		return signaling.Claims{}, e
	}
	return signaling.Claims{Person: person(claims), Grants: claims.Grants.Names()}, nil
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

// recordings answers the API's questions from the data directory.
type recordings struct{ dir string }

func (r recordings) List(context.Context) ([]any, error) {
	list, err := recorder.List(r.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	all := make([]any, 0, len(list))
	for _, m := range list {
		all = append(all, m)
	}
	return all, err
}

func (r recordings) Show(_ context.Context, id string) (any, error) { return recorder.Show(r.dir, id) }

func (r recordings) Open(_ context.Context, id, name string) (api.File, error) {
	f, info, err := recorder.Open(r.dir, id, name)
	if err != nil {
		return api.File{}, err
	}
	return api.File{Content: f, Modified: info.ModTime()}, nil
}
