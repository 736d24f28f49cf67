package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Action is what somebody did. The events of the recorder ("recording.armed"
// and so on) are actions under their own names; these are the others.
type Action string

// Actions.
const (
	// Allowed: a browser got the cookie of a recording.
	Allowed Action = "playback.allowed"
	// Opened: the first byte of a file is about to be sent to a viewer. The
	// row is on disk before that byte.
	Opened Action = "recording.opened"
	// Played and Downloaded: what was sent of it, as ranges of bytes.
	Played     Action = "recording.played"
	Downloaded Action = "recording.downloaded"
	Exported   Action = "recording.exported"
	// ExportDeleted: an exported file, or the job that makes it, was removed.
	ExportDeleted Action = "export.deleted"
	Verified      Action = "recording.verified"
	Repaired      Action = "recording.repaired"
	// Fetched: its files were brought back from the object store.
	Fetched  Action = "recording.fetched"
	Erased   Action = "recording.erased"
	Held     Action = "recording.held"
	Released Action = "recording.released"
	// Refused: somebody asked for what he may not see, or what is not there.
	Refused Action = "access.refused"
)

// Outcome of an action.
type Outcome string

// Outcomes.
const (
	Done   Outcome = "done"
	Failed Outcome = "failed"
	Denied Outcome = "refused"
)

// Roles of actors that have no role of a token.
const (
	RoleServer  = "server"  // the server itself
	RoleCommand = "command" // somebody at the command line; Actor is his account
)

// Entry is a row of the log.
type Entry struct {
	// Sequence counts from 1 without a hole. Set by the log.
	Sequence int64 `json:"sequence"`
	// Time with microseconds, in UTC; set by the log if it is zero.
	Time    time.Time `json:"time"`
	Action  Action    `json:"action"`
	Outcome Outcome   `json:"outcome"` // Done unless set
	// Actor is an identity of a token, the id of an API key or an account of
	// the machine; empty if nobody knows.
	Actor string `json:"actor,omitempty"`
	Role  string `json:"role,omitempty"`
	// Address of the client, without port.
	Address   string         `json:"address,omitempty"`
	Recording string         `json:"recording,omitempty"` // id
	File      string         `json:"file,omitempty"`
	Data      map[string]any `json:"data,omitempty"`
	// Hash is the SHA-256, in hexadecimal, of the hash of the row before (of
	// nothing for the first), a line feed and the row's JSON without its hash.
	// Set by the log.
	Hash string `json:"hash,omitempty"`
}

// maxBody bounds a row, in bytes: what is larger loses its data.
const maxBody = 16 << 10

// seal completes an entry that comes after another one and returns its JSON.
func (e *Entry) seal(sequence int64, previous string) (body string, err error) {
	e.Sequence, e.Hash = sequence, ""
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC().Truncate(time.Microsecond)
	if e.Outcome == "" {
		e.Outcome = Done
	}
	text, err := json.Marshal(e)
	if err != nil || len(text) > maxBody {
		// What can't be written must not keep the row from being written.
		e.Data = map[string]any{"left_out": "data that is too long or can't be encoded"}
		if text, err = json.Marshal(e); err != nil {
			return "", fmt.Errorf("encode entry: %w", err)
		}
	}
	e.Hash = chain(previous, string(text))
	return string(text), nil
}

// chain is the hash of a row.
func chain(previous, body string) string {
	sum := sha256.Sum256([]byte(previous + "\n" + body))
	return hex.EncodeToString(sum[:])
}

// decode reads a row.
func decode(body, hash string) (Entry, error) {
	var e Entry
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		return Entry{}, fmt.Errorf("decode entry: %w", err)
	}
	e.Hash = hash
	return e, nil
}
