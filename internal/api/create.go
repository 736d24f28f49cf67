package api

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"consilium/internal/auth"
	"consilium/internal/event"
	"consilium/sfu"
)

// Limits of POST /v1/calls. external_id and metadata are echoed in every event
// and webhook, so they are small.
const (
	maxParticipants    = 64
	maxExternalID      = 256 // bytes
	maxMetadataEntries = 32
	maxMetadataBytes   = 4 << 10 // keys and values together
	defaultTokenTTL    = 24 * time.Hour
	maxTokenTTL        = 31 * 24 * time.Hour
)

// newCall is the body of POST /v1/calls.
type newCall struct {
	Room         string            `json:"room"`
	ExternalID   string            `json:"external_id"`
	Metadata     map[string]string `json:"metadata"`
	Hold         bool              `json:"hold"`
	Participants []newParticipant  `json:"participants"`
}

// newParticipant is somebody who gets a join link.
type newParticipant struct {
	Identity string   `json:"identity"`
	Name     string   `json:"name"`
	Role     string   `json:"role"`
	Lang     string   `json:"lang"`
	Grants   []string `json:"grants"` // none: all of the role
	TTL      *int64   `json:"ttl"`    // seconds
}

// createdCall is the answer.
type createdCall struct {
	ID           string            `json:"id"`
	Room         string            `json:"room"`
	ExternalID   string            `json:"external_id,omitempty"`
	Metadata     map[string]string `json:"metadata,omitempty"`
	Hold         bool              `json:"hold"`
	Started      string            `json:"started"`
	Participants []invitation      `json:"participants"`
}

// invitation is how somebody joins.
type invitation struct {
	Identity string `json:"identity"`
	Name     string `json:"name,omitempty"`
	Role     string `json:"role"`
	URL      string `json:"url"`
	Token    string `json:"token"`
	Expires  string `json:"expires"`
}

// createCall opens a call and makes a join link for each participant.
func (a *API) createCall(w http.ResponseWriter, r *request) error {
	var spec newCall
	if err := decode(r.body, &spec); err != nil {
		return err
	}
	if spec.Room == "" {
		spec.Room = strings.ToLower(rand.Text())
	}
	if err := spec.check(); err != nil {
		return err
	}
	// Tokens first: a call without its links would be of no use.
	invitations, err := a.invite(r, spec)
	if err != nil {
		return err
	}
	info, err := a.config.Calls.OpenCall(r.Context(), sfu.CallSpec{
		Room: spec.Room, ExternalID: spec.ExternalID, Metadata: spec.Metadata, Hold: spec.Hold,
		Awaited: spec.identities(),
	})
	if err != nil {
		return fmt.Errorf("open call: %w", err)
	}
	for _, p := range invitations {
		a.config.Journal.Emit(event.Event{
			Type: event.ParticipantInvited, Call: info.ID, Room: info.Room, Participant: p.Identity,
			ExternalID: info.ExternalID, Metadata: info.Metadata,
			Data: map[string]any{"name": p.Name, "role": p.Role, "expires": p.Expires},
		})
	}
	w.Header().Set("Location", "/v1/calls/"+info.ID)
	return writeJSON(w, http.StatusCreated, createdCall{
		ID: info.ID, Room: info.Room, ExternalID: info.ExternalID, Metadata: info.Metadata,
		Hold: info.Hold, Started: formatTime(info.Started), Participants: invitations,
	})
}

// identities are those who get a link; nil: nobody.
func (c newCall) identities() (all []string) {
	for _, p := range c.Participants {
		all = append(all, p.Identity)
	}
	return all
}

// check says what is wrong with a call's specification.
func (c newCall) check() error {
	switch {
	case event.InPrecheck(c.Room):
		return unusable("room: names that begin with " + event.PrecheckRoom + " are the server's own")
	case !auth.Ident(c.Room):
		return unusable("room: 1 to 64 of A-Z a-z 0-9 . _ ~ -")
	case !plainText(c.ExternalID, maxExternalID):
		return unusable(fmt.Sprintf("external_id: text of at most %d bytes without control characters", maxExternalID))
	case len(c.Participants) > maxParticipants:
		return unusable(fmt.Sprintf("participants: at most %d", maxParticipants))
	}
	if err := checkMetadata(c.Metadata); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for i, p := range c.Participants {
		if err := p.check(); err != nil {
			return unusable(fmt.Sprintf("participants[%d]: %v", i, err))
		}
		if seen[p.Identity] {
			return unusable(fmt.Sprintf("participants[%d]: identity %q is there twice", i, p.Identity))
		}
		seen[p.Identity] = true
	}
	return nil
}

func checkMetadata(metadata map[string]string) error {
	size := 0
	for key, value := range metadata {
		if key == "" || !plainText(key, maxMetadataBytes) {
			return unusable("metadata: a key is empty or has control characters")
		}
		size += len(key) + len(value)
	}
	if len(metadata) > maxMetadataEntries || size > maxMetadataBytes {
		return unusable(fmt.Sprintf("metadata: at most %d entries and %d bytes", maxMetadataEntries, maxMetadataBytes))
	}
	return nil
}

func (p newParticipant) check() error {
	allowed, known := auth.DefaultGrants(auth.Role(p.Role))
	switch {
	case !auth.Ident(p.Identity):
		return fmt.Errorf("identity: 1 to 64 of A-Z a-z 0-9 . _ ~ -")
	case !known || auth.Role(p.Role) == auth.RoleAdmin:
		return fmt.Errorf("role: patient, companion, interpreter, doctor, observer or device")
	case !plainText(p.Name, 256):
		return fmt.Errorf("name: text of at most 256 bytes without control characters")
	case !plainText(p.Lang, 35):
		return fmt.Errorf("lang: a language tag")
	case p.TTL != nil && (*p.TTL < 1 || *p.TTL > int64(maxTokenTTL/time.Second)):
		return fmt.Errorf("ttl: 1 to %d seconds", int64(maxTokenTTL/time.Second))
	}
	for _, grant := range p.Grants {
		if !slices.Contains(allowed.Names(), grant) {
			return fmt.Errorf("grants: %q is not one that role %s may have (%s)", grant, p.Role, allowed)
		}
	}
	return nil
}

// invite makes the tokens and links.
func (a *API) invite(r *request, spec newCall) ([]invitation, error) {
	out := make([]invitation, 0, len(spec.Participants))
	base := a.publicURL(r.Request)
	for i, p := range spec.Participants {
		ttl := defaultTokenTTL
		if p.TTL != nil {
			ttl = time.Duration(*p.TTL) * time.Second
		}
		token, err := a.config.Auth.Mint(auth.Claims{
			Subject: p.Identity, Room: spec.Room, Role: auth.Role(p.Role), Name: p.Name, Lang: p.Lang,
			Grants: auth.ParseGrants(p.Grants),
		}, ttl)
		if err != nil {
			// The values were checked; what the authority still refuses in
			// them (odd characters) is the caller's, and said in words.
			return nil, unusable(fmt.Sprintf("participants[%d]: %v", i, err))
		}
		out = append(out, invitation{
			Identity: p.Identity, Name: p.Name, Role: p.Role, Token: token,
			URL:     base + "/r/" + spec.Room + "#" + token,
			Expires: formatTime(time.Now().Add(ttl)),
		})
	}
	return out, nil
}

// publicURL is scheme://host as the user sees the server.
func (a *API) publicURL(r *http.Request) string {
	if a.config.PublicURL != "" {
		return strings.TrimRight(a.config.PublicURL, "/")
	}
	if r.TLS != nil || r.URL.Scheme == "https" { // the latter from a reverse proxy
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// plainText reports whether s is at most limit bytes of text without control
// characters.
func plainText(s string, limit int) bool {
	return len(s) <= limit && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// detached lets what must not stop half-way outlive a client that hangs up.
func detached(r *request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), 10*time.Second)
}
