package signaling

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"consilium/internal/event"
	"consilium/internal/media"
)

// Bounds of lists and texts within a message; the size of the whole message is
// bounded by LimitConfig.
const (
	maxTracks     = 32   // sending m-lines of an offer
	maxSeats      = 128  // seats of an offer
	maxViews      = 256  // visible tracks
	maxReported   = 256  // tracks, and figures, of a report
	maxLogEntries = 200  // entries of one log message
	maxName       = 256  // identities, mids, ids, versions
	maxText       = 4096 // a line of the client's log, a user agent
)

// incoming is a decoded message of a client. If refusal is set, the envelope
// holds what could be read of it and body is nil.
type incoming struct {
	Envelope
	kind    MessageType
	body    any
	refusal *failure
}

// decode reads one message strictly: unknown fields, unknown types, trailing
// bytes and values out of range are refused.
func decode(raw []byte) incoming {
	var in incoming
	if !utf8.Valid(raw) {
		in.refusal = &failure{code: codeBadMessage, text: "message is not UTF-8"}
		return in
	}
	if err := decodeStrict(raw, &in.Envelope); err != nil {
		in.refusal = &failure{code: codeBadMessage, text: "envelope: " + err.Error()}
		in.Envelope = salvage(raw)
		return in
	}
	if len(in.ID) > maxName {
		in.ID = ""
		in.refusal = &failure{code: codeBadMessage, text: fmt.Sprintf("id is longer than %d bytes", maxName)}
		return in
	}
	kind, ok := lookup(in.Type)
	if !ok {
		in.refusal = &failure{code: codeUnknownType, text: fmt.Sprintf("no message of type %.64q", in.Type)}
		return in
	}
	in.kind = kind
	b := kind.New()
	if len(in.Body) > 0 {
		if err := decodeStrict(in.Body, b); err != nil {
			in.refusal = &failure{code: codeBadMessage, text: in.Type + ": " + err.Error()}
			return in
		}
	}
	if v, ok := b.(interface{ validate() error }); ok {
		if err := v.validate(); err != nil {
			in.refusal = &failure{code: codeBadMessage, text: in.Type + ": " + err.Error()}
			return in
		}
	}
	in.body = b
	return in
}

func decodeStrict(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON value")
	}
	return nil
}

// salvage reads what it can of a bad envelope, so that the refusal can name
// the request and the numbering does not stop.
func salvage(raw []byte) Envelope {
	var e Envelope
	// What can't be read stays zero: the envelope is refused anyway.
	_ = json.Unmarshal(raw, &e)
	if len(e.ID) > maxName {
		e.ID = ""
	}
	return Envelope{Type: e.Type, Seq: e.Seq, Ack: e.Ack, ID: e.ID}
}

func (h *Hello) validate() error {
	if len(h.Client.UserAgent) > maxText {
		return errors.New("client.user_agent is too long")
	}
	c := h.Client
	return short(h.Room, c.Version, c.Lang, c.Screen, c.Network, h.consentText(), h.consentLang())
}

func (h *Hello) consentText() string {
	if h.Consent == nil {
		return ""
	}
	return h.Consent.Text
}

func (h *Hello) consentLang() string {
	if h.Consent == nil {
		return ""
	}
	return h.Consent.Lang
}

func (o *OfferBody) validate() error {
	if len(o.Tracks) > maxTracks || len(o.Seats) > maxSeats {
		return fmt.Errorf("more than %d tracks or %d seats", maxTracks, maxSeats)
	}
	for _, t := range o.Tracks {
		if !media.Source(t.Source).Valid() {
			return fmt.Errorf("unknown source %.32q", t.Source)
		}
		if t.MID == "" {
			return errors.New("a track has no mid")
		}
		if err := short(t.MID); err != nil {
			return err
		}
	}
	for _, s := range o.Seats {
		if s.Video == "" {
			return errors.New("a seat has no video mid")
		}
		if err := short(s.Audio, s.Video); err != nil {
			return err
		}
	}
	return nil
}

func (p *Publish) validate() error {
	if !media.Source(p.Source).Valid() {
		return fmt.Errorf("unknown source %.32q", p.Source)
	}
	if p.MID == "" {
		return errors.New("mid is missing")
	}
	return short(p.MID)
}

func (c *Candidate) validate() error { return short(c.MID) }

func (v *ViewBody) validate() error {
	if len(v.Tracks) > maxViews {
		return fmt.Errorf("more than %d tracks", maxViews)
	}
	for _, t := range v.Tracks {
		if t.Width < 0 || t.Height < 0 || t.Width > 1<<16 || t.Height > 1<<16 {
			return errors.New("width and height are between 0 and 65536")
		}
		if err := short(t.Track); err != nil {
			return err
		}
	}
	return nil
}

func (r *Report) validate() error {
	if len(r.Decoded) > maxReported || len(r.Stats) > maxReported {
		return fmt.Errorf("more than %d entries", maxReported)
	}
	return nil
}

func (l *Log) validate() error {
	if len(l.Entries) > maxLogEntries {
		return fmt.Errorf("more than %d entries", maxLogEntries)
	}
	for _, e := range l.Entries {
		switch {
		case !slices.Contains(stages, event.Stage(e.Stage)):
			return fmt.Errorf("unknown stage %.32q", e.Stage)
		case e.Code != "" && !slices.Contains(event.Codes(), event.Code(e.Code)):
			return fmt.Errorf("unknown code %.32q", e.Code)
		case len(e.Text) > maxText:
			return errors.New("text is too long")
		}
	}
	return nil
}

func (t *Target) validate() error {
	if t.Participant == "" {
		return errors.New("participant is missing")
	}
	return short(t.Participant)
}

func (m *MuteOther) validate() error {
	if !media.Source(m.Source).Valid() {
		return fmt.Errorf("unknown source %.32q", m.Source)
	}
	if m.Participant == "" {
		return errors.New("participant is missing")
	}
	return short(m.Participant)
}

// stages are the stages that an entry of the client's log may name.
var stages = []event.Stage{
	event.StagePage, event.StageSocket, event.StageDevices, event.StageNegotiate, event.StageICE,
	event.StageDTLS, event.StageFirstRTP, event.StageFirstFrame, event.StageFlowing,
}

func short(texts ...string) error {
	for _, t := range texts {
		if len(t) > maxName {
			return fmt.Errorf("a value is longer than %d bytes", maxName)
		}
	}
	return nil
}
