package recorder

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"consilium/internal/event"
	"consilium/internal/media"
)

// ManifestVersion is the version of the manifest's schema. Fields may be added
// to a version; readers ignore what they don't know.
const ManifestVersion = 1

const (
	manifestName = "manifest.json"
	muxingApp    = "ebml-go"
)

// State of a recording or of one of its segments.
type State string

// States.
const (
	// Live: being written. After a crash: left behind, to be recovered.
	Live State = "live"
	// Final: complete, checked and closed.
	Final State = "final"
	// Recovered: made from what a crash left.
	Recovered State = "recovered"
	// Erased: its tombstone is left.
	Erased State = "erased"
	// Failed: not to be had; the events say why.
	Failed State = "failed"
	// Locked: left by a crash, whole, and sealed; this server has no private
	// key to finish it with. `consilium recordings repair --identity` does.
	Locked State = "locked"
)

// Manifest describes the recording of a call: what was recorded, when each
// file begins on the time axis of the call, and what is missing. It is the
// truth about a recording; every index can be made again from it.
//
// Session time counts in milliseconds from Started on the server's monotonic
// clock.
type Manifest struct {
	Version    int               `json:"version"`
	Call       string            `json:"call"`
	Room       string            `json:"room"`
	ExternalID string            `json:"external_id,omitempty"`
	Metadata   map[string]string `json:"metadata,omitempty"`
	Software   string            `json:"software"`
	State      State             `json:"state"`
	Started    time.Time         `json:"started"`
	Ended      *time.Time        `json:"ended,omitempty"`

	Participants []Participant `json:"participants"`
	Consents     []Consent     `json:"consents"`
	Tracks       []TrackInfo   `json:"tracks"`
	Segments     []Segment     `json:"segments"`
	Events       []Entry       `json:"events"`
	// EventsDropped counts the events beyond what a manifest lists.
	EventsDropped int `json:"events_dropped,omitempty"`

	// Previous is the SHA-256 of the manifest that became final before this
	// one on the same server: no recording can be taken out of the chain or put
	// into it without a trace. Empty for the first, and until it is final.
	Previous string `json:"previous,omitempty"`
	// Signature is there once the manifest is final.
	Signature *Signature `json:"signature,omitempty"`
}

// Participant is a person or device of the call. Number stands for him in file
// names, which hold no personal data.
type Participant struct {
	Number   int    `json:"number"`
	Identity string `json:"identity"`
	Role     string `json:"role,omitempty"`
}

// Consent is an accepted or refused recording notice.
type Consent struct {
	Participant string         `json:"participant"`
	Given       bool           `json:"given"`
	Time        time.Time      `json:"time"`
	Data        map[string]any `json:"data,omitempty"`
}

// TrackInfo sums up one published track, also one that never had a frame.
type TrackInfo struct {
	Track       string          `json:"track"`
	Participant string          `json:"participant"`
	Session     string          `json:"session"`
	Source      media.Source    `json:"source"`
	Codec       string          `json:"codec"`
	StartedMS   int64           `json:"started_ms"`
	EndedMS     *int64          `json:"ended_ms,omitempty"`
	EndReason   media.EndReason `json:"end_reason,omitempty"`
	Packets     int64           `json:"packets"`
	PacketsLost int64           `json:"packets_lost"`
	// Overflowed packets came while the disk did not keep up. They are among
	// the lost.
	Overflowed int64 `json:"packets_overflowed,omitempty"`
	Frames     int64 `json:"frames"`
	// FramesDropped could not be decoded, or could not be written.
	FramesDropped int64 `json:"frames_dropped,omitempty"`
}

// Segment is one file.
type Segment struct {
	File        string       `json:"file"`
	Participant string       `json:"participant"`
	Session     string       `json:"session"`
	Track       string       `json:"track"`
	Source      media.Source `json:"source"`
	Codec       string       `json:"codec"`
	State       State        `json:"state"`
	// T0MS is the session time of the file's first moment, T0Source what it
	// was derived from.
	T0MS     float64 `json:"t0_ms"`
	T0Source string  `json:"t0_source"`
	// DriftPPM is by how many millionths a second of the server is longer than
	// a second of the file; see SessionMS. 0 until a minute was observed.
	DriftPPM   float64  `json:"drift_ppm"`
	Clock      *Clock   `json:"clock,omitempty"`
	DurationMS int64    `json:"duration_ms"`
	Width      int      `json:"width,omitempty"`
	Height     int      `json:"height,omitempty"`
	Sizes      []SizeAt `json:"sizes,omitempty"`
	// Bytes and SHA256 are of the file as it plays, not as it is sealed.
	Bytes           int64      `json:"bytes"`
	SHA256          string     `json:"sha256,omitempty"`
	Sealed          *Sealed    `json:"sealed,omitempty"`
	Frames          int64      `json:"frames"`
	Packets         int64      `json:"packets"`
	PacketsLost     int64      `json:"packets_lost"`
	SilenceFilledMS int64      `json:"silence_filled_ms"`
	Gaps            []Gap      `json:"gaps"`
	GapsDropped     int        `json:"gaps_dropped,omitempty"`
	Activity        *Activity  `json:"activity,omitempty"` // of sound, once the file is closed
	Error           event.Code `json:"error,omitempty"`
}

// Sealed describes the file on the disk of a segment that is sealed.
type Sealed struct {
	Scheme string `json:"scheme"` // age
	File   string `json:"file"`   // its name
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Stored returns the name, length and SHA-256 of the segment's file as it lies
// on the disk, sealed or not.
func (s Segment) Stored() (name string, bytes int64, sha256 string) {
	if s.Sealed != nil {
		return s.Sealed.File, s.Sealed.Bytes, s.Sealed.SHA256
	}
	return s.File, s.Bytes, s.SHA256
}

// SessionMS returns the session time of a moment of the file, in ms. Block
// timestamps are the sender's own clock and may not be stretched in the file;
// whoever puts several files on one axis does it by this formula. Playing at
// the rate 1/(1+DriftPPM/1e6) comes to the same.
func (s *Segment) SessionMS(fileMS float64) float64 {
	return s.T0MS + fileMS*(1+s.DriftPPM/1e6)
}

// FileMS is the inverse of SessionMS.
func (s *Segment) FileMS(sessionMS float64) float64 {
	return (sessionMS - s.T0MS) / (1 + s.DriftPPM/1e6)
}

// Values of Segment.T0Source.
const (
	T0Arrival      = "arrival"       // the earliest arrival, seen over the first two seconds
	T0SenderReport = "sender_report" // RTCP, which ties a session's tracks together
)

// Clock holds what T0MS and DriftPPM are computed from: three clocks, the
// track's RTP clock, which is file time, the sender's, and the server's.
type Clock struct {
	// ArrivalMS is the session time of the first moment by arrival, ArrivalPPM
	// the drift by arrival.
	ArrivalMS  float64 `json:"arrival_t0_ms"`
	ArrivalPPM float64 `json:"arrival_drift_ppm,omitempty"`
	// NTP is the same moment on the sender's own clock, in ns since 1900; only
	// differences within a session mean anything.
	NTP int64 `json:"ntp_t0_ns,omitempty"`
	// ReportMS is the same moment by the sender report that was on its way
	// for the shortest time.
	ReportMS float64 `json:"report_t0_ms,omitempty"`
	// RTPPPM is by how much a second of the sender's clock is longer than one
	// of the file, SenderPPM a second of the server's than one of the sender's.
	RTPPPM    float64 `json:"rtp_drift_ppm,omitempty"`
	SenderPPM float64 `json:"sender_drift_ppm,omitempty"`
	Reports   int     `json:"sender_reports,omitempty"`
	// Steps counts how often the sender's clock was set, StepMS by how much in
	// sum. NTP is on the clock as it was at first.
	Steps  int     `json:"sender_clock_steps,omitempty"`
	StepMS float64 `json:"sender_clock_step_ms,omitempty"`
}

// SizeAt is a change of the picture's size in mid-file.
type SizeAt struct {
	MS     int64 `json:"ms"` // file time
	Width  int   `json:"width"`
	Height int   `json:"height"`
}

// Gap is a time without media. In sound it is filled with silence; the last
// picture stands still.
type Gap struct {
	MS         int64  `json:"ms"` // file time
	DurationMS int64  `json:"duration_ms"`
	Reason     string `json:"reason"`
}

// Reasons of a gap.
const (
	GapMuted    = "muted"    // the publisher said so
	GapSilent   = "silent"   // nothing was sent: discontinuous transmission, a still screen
	GapLost     = "lost"     // packets did not arrive
	GapOverflow = "overflow" // the recorder could not keep up
	GapClock    = "clock"    // the sender's RTP clock stood still or jumped
)

// Entry is an event of the call, without what every one repeats.
type Entry struct {
	MS          int64          `json:"ms"` // session time
	Type        event.Type     `json:"type"`
	Participant string         `json:"participant,omitempty"`
	Session     string         `json:"session,omitempty"`
	Track       string         `json:"track,omitempty"`
	Code        event.Code     `json:"code,omitempty"`
	Data        map[string]any `json:"data,omitempty"`
}

// participant returns the number of an identity, adding it if it is new.
func (m *Manifest) participant(identity, role string) int {
	for i := range m.Participants {
		p := &m.Participants[i]
		if p.Identity == identity {
			if p.Role == "" {
				p.Role = role
			}
			return p.Number
		}
	}
	n := len(m.Participants) + 1
	m.Participants = append(m.Participants, Participant{Number: n, Identity: identity, Role: role})
	return n
}

// segment returns the segment with the given file, or nil.
func (m *Manifest) segment(file string) *Segment {
	for i := range m.Segments {
		if m.Segments[i].File == file {
			return &m.Segments[i]
		}
	}
	return nil
}

// track returns the description of a track, or nil.
func (m *Manifest) track(id string) *TrackInfo {
	for i := range m.Tracks {
		if m.Tracks[i].Track == id {
			return &m.Tracks[i]
		}
	}
	return nil
}

// name returns the name of the next file of a participant's source; taken are
// the stems of files that the manifest may not know. Reconnects go on counting;
// p1-mic-1.webm tells nobody who spoke.
func (m *Manifest) name(number int, source media.Source, extension string, taken map[string]bool) string {
	for n := 1; ; n++ {
		stem := fmt.Sprintf("p%d-%s-%d", number, source, n)
		if !taken[stem] && m.segment(stem+".webm") == nil && m.segment(stem+".mkv") == nil {
			return stem + extension
		}
	}
}

// length is the session time at which the last file ends.
func (m *Manifest) length() time.Duration {
	var last time.Duration
	for _, s := range m.Segments {
		last = max(last, time.Duration((s.T0MS+float64(s.DurationMS))*float64(time.Millisecond)))
	}
	return last
}

// describe takes over what the medical information system calls the call: a
// call that was opened by somebody who came early gets it later.
func (m *Manifest) describe(e event.Event) {
	if e.ExternalID != "" {
		m.ExternalID = e.ExternalID
	}
	if len(e.Metadata) > 0 {
		m.Metadata = e.Metadata
	}
}

// addEvent adds an entry, within bounds.
func (m *Manifest) addEvent(e Entry) {
	if len(m.Events) >= maxEvents {
		m.EventsDropped++
		return
	}
	m.Events = append(m.Events, e)
}

// snapshot returns a copy that later changes of m don't reach. What is nested
// deeper than the lists is replaced as a whole when it changes, never written.
func (m *Manifest) snapshot() Manifest {
	c := *m
	c.Participants = slices.Clone(m.Participants)
	c.Consents = slices.Clone(m.Consents)
	c.Tracks = slices.Clone(m.Tracks)
	c.Segments = slices.Clone(m.Segments)
	c.Events = slices.Clone(m.Events)
	return c
}

// encode returns the manifest as it stands in its file.
func (m *Manifest) encode() ([]byte, error) {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return append(b, '\n'), nil
}

// errBroken says that a file is no manifest.
var errBroken = errors.New("not a manifest")

// decodeManifest reads a manifest. What it returns can be used without a check
// for missing parts. The error wraps errBroken unless a newer program wrote it.
func decodeManifest(b []byte) (Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return Manifest{}, fmt.Errorf("decode manifest: %w: %w", errBroken, err)
	}
	switch {
	case m.Version > ManifestVersion:
		return Manifest{}, fmt.Errorf("decode manifest: it is of version %d and this program knows up to %d", m.Version, ManifestVersion)
	case m.Version < 1:
		return Manifest{}, fmt.Errorf("decode manifest: %w: it has no version", errBroken)
	}
	segments := m.Segments[:0]
	for _, s := range m.Segments {
		if s.File == "" || validFileName(s.File) { // no path ever comes from here
			segments = append(segments, s)
		}
	}
	m.Segments = segments
	return m, nil
}
