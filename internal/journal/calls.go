package journal

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"consilium/internal/event"
)

// ErrNotFound is returned for calls the journal does not know.
var ErrNotFound = errors.New("no such call")

// Call is the record of a call, living or ended, as its events tell it.
type Call struct {
	ID           string                  `json:"id"`
	Room         string                  `json:"room"`
	ExternalID   string                  `json:"external_id,omitempty"`
	Metadata     map[string]string       `json:"metadata,omitempty"`
	Started      time.Time               `json:"started"`
	Ended        time.Time               `json:"ended"` // zero while it lives
	Participants map[string]*Participant `json:"participants,omitempty"`
	// Codes of what failed in it, each once, the first first.
	Codes []event.Code `json:"codes,omitempty"`

	// Applied is the id of the last event that is in the record.
	Applied string `json:"applied"`
}

// Participant is what the events of a call say of one participant.
type Participant struct {
	Identity string    `json:"identity"`
	Name     string    `json:"name,omitempty"`
	Role     string    `json:"role,omitempty"`
	State    string    `json:"state"`  // the last participant event: joined, left, failed, ...
	Joined   time.Time `json:"joined"` // first; zero if never
	Left     time.Time `json:"left"`   // last; zero while present
}

// Filter selects calls. Empty fields select all.
type Filter struct {
	Room       string
	ExternalID string
	// Code selects calls in which this failed.
	Code event.Code
	// From and To bound the start of the call: at or after From, before To. A
	// zero time is no bound.
	From, To time.Time
	// Before is the id of a call: only calls that started before it, for the
	// next page.
	Before string
	// Limit of the page, taken as between 1 and 1000.
	Limit int
}

// concernsCall reports whether e changes the record of its call.
func concernsCall(e event.Event) bool {
	return e.Call != "" && (strings.HasPrefix(string(e.Type), "call.") || aboutParticipant(e) || fails(e))
}

func aboutParticipant(e event.Event) bool { return strings.HasPrefix(string(e.Type), "participant.") }

// fails reports whether e is a failure of the call, and not what a client
// thought.
func fails(e event.Event) bool { return e.Code != "" && e.Type.Public() }

// apply adds an event to the record. Events come in order; one that is in the
// record already is ignored.
func (c *Call) apply(e event.Event) {
	if e.ID <= c.Applied {
		return
	}
	c.Applied = e.ID
	if c.Started.IsZero() {
		c.Started = e.Time
	}
	c.Room = cmp.Or(e.Room, c.Room)
	c.ExternalID = cmp.Or(e.ExternalID, c.ExternalID)
	if e.Metadata != nil {
		c.Metadata = maps.Clone(e.Metadata)
	}
	if fails(e) && !slices.Contains(c.Codes, e.Code) {
		c.Codes = append(c.Codes, e.Code)
	}
	switch e.Type {
	case event.CallStarted:
		c.Ended = time.Time{}
	case event.CallEnded:
		c.Ended = e.Time
		for _, p := range c.Participants {
			if !p.Joined.IsZero() && p.Left.IsZero() {
				p.Left, p.State = e.Time, "left"
			}
		}
	default:
		c.applyParticipant(e)
	}
}

func (c *Call) applyParticipant(e event.Event) {
	if e.Participant == "" || !aboutParticipant(e) {
		return
	}
	p, ok := c.Participants[e.Participant]
	if !ok {
		p = &Participant{Identity: e.Participant}
		if c.Participants == nil {
			c.Participants = make(map[string]*Participant)
		}
		c.Participants[e.Participant] = p
	}
	name, _ := e.Data["name"].(string)
	role, _ := e.Data["role"].(string)
	p.Name, p.Role = cmp.Or(name, p.Name), cmp.Or(role, p.Role)
	if present, _ := e.Data["present"].(bool); !present { // a session failed, he is there
		p.State = strings.TrimPrefix(string(e.Type), "participant.")
	}
	switch e.Type {
	case event.ParticipantJoined:
		if p.Joined.IsZero() {
			p.Joined = e.Time
		}
		p.Left = time.Time{}
	case event.ParticipantLeft:
		p.Left = e.Time
	}
}

// querier is *sql.DB or *sql.Tx.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// loadCall returns the stored record, or a new one without events.
func loadCall(ctx context.Context, q querier, id string) (*Call, error) {
	var body string
	err := q.QueryRowContext(ctx, "SELECT body FROM calls WHERE id = ?", id).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return &Call{ID: id}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read call %s: %w", id, err)
	}
	return decodeCall(body)
}

func decodeCall(body string) (*Call, error) {
	c := new(Call)
	if err := json.Unmarshal([]byte(body), c); err != nil {
		return nil, fmt.Errorf("read call: %w", err)
	}
	return c, nil
}

func storeCall(ctx context.Context, tx *sql.Tx, c *Call) error {
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("write call %s: %w", c.ID, err)
	}
	var ended int64
	if !c.Ended.IsZero() {
		ended = c.Ended.UnixMicro()
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO calls (id, room, external_id, started, ended, codes, body) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET room = excluded.room, external_id = excluded.external_id,
		started = excluded.started, ended = excluded.ended, codes = excluded.codes, body = excluded.body`,
		c.ID, c.Room, c.ExternalID, c.Started.UnixMicro(), ended, joinCodes(c.Codes), string(body))
	if err != nil {
		return fmt.Errorf("write call %s: %w", c.ID, err)
	}
	return nil
}

// joinCodes writes codes with a space around each, so that one can be looked
// for.
func joinCodes(codes []event.Code) string {
	if len(codes) == 0 {
		return ""
	}
	var text strings.Builder
	for _, code := range codes {
		text.WriteString(" " + string(code))
	}
	return text.String() + " "
}

// Call returns the record of a call, or ErrNotFound.
func (j *Journal) Call(ctx context.Context, id string) (Call, error) {
	waiting := j.unwritten(func(e event.Event) bool { return e.Call == id && concernsCall(e) })
	c, err := loadCall(ctx, j.reads, id)
	if err != nil {
		return Call{}, err
	}
	for _, e := range waiting {
		c.apply(e)
	}
	if c.Applied == "" {
		return Call{}, fmt.Errorf("call %q: %w", id, ErrNotFound)
	}
	return *c, nil
}

// Calls returns the records of calls, the latest first.
func (j *Journal) Calls(ctx context.Context, filter Filter) ([]Call, error) {
	limit := min(max(filter.Limit, 1), MaxLimit)
	fresh := make(map[string]bool) // calls with events not on disk
	for _, e := range j.unwritten(concernsCall) {
		fresh[e.Call] = true
	}
	calls, err := j.storedCalls(ctx, filter, limit)
	if err != nil {
		return nil, err
	}
	calls = slices.DeleteFunc(calls, func(c Call) bool { return fresh[c.ID] })
	var before *Call
	if filter.Before != "" {
		c, err := j.Call(ctx, filter.Before)
		if err != nil {
			return nil, err
		}
		before = &c
	}
	for id := range fresh {
		c, err := j.Call(ctx, id)
		if err != nil {
			return nil, err
		}
		if filter.matches(c) && (before == nil || later(*before, c) < 0) {
			calls = append(calls, c)
		}
	}
	slices.SortFunc(calls, later)
	return calls[:min(len(calls), limit)], nil
}

// later orders calls, the latest first.
func later(a, b Call) int {
	return cmp.Or(b.Started.Compare(a.Started), strings.Compare(b.ID, a.ID))
}

func (f Filter) matches(c Call) bool {
	return (f.Room == "" || f.Room == c.Room) && (f.ExternalID == "" || f.ExternalID == c.ExternalID) &&
		(f.Code == "" || slices.Contains(c.Codes, f.Code)) &&
		(f.From.IsZero() || !c.Started.Before(f.From)) && (f.To.IsZero() || c.Started.Before(f.To))
}

// storedCalls reads a page from disk. A living call whose start is not on disk
// yet can't be the bound of a page there: the page then starts at the top.
func (j *Journal) storedCalls(ctx context.Context, f Filter, limit int) ([]Call, error) {
	from, to := int64(0), int64(math.MaxInt64)
	if !f.From.IsZero() {
		from = f.From.UnixMicro()
	}
	if !f.To.IsZero() {
		to = f.To.UnixMicro()
	}
	rows, err := j.reads.QueryContext(ctx, `SELECT body FROM calls
		WHERE (?1 = '' OR room = ?1) AND (?2 = '' OR external_id = ?2)
		AND (?3 = '' OR (started, id) < (coalesce((SELECT started FROM calls WHERE id = ?3), 9e18), ?3))
		AND (?5 = '' OR instr(codes, ' ' || ?5 || ' ') > 0) AND started >= ?6 AND started < ?7
		ORDER BY started DESC, id DESC LIMIT ?4`, f.Room, f.ExternalID, f.Before, limit, string(f.Code), from, to)
	if err != nil {
		return nil, fmt.Errorf("read calls: %w", err)
	}
	defer rows.Close()
	var calls []Call
	for rows.Next() {
		var body string
		if err := rows.Scan(&body); err != nil {
			return nil, fmt.Errorf("read calls: %w", err)
		}
		c, err := decodeCall(body)
		if err != nil {
			return nil, err
		}
		calls = append(calls, *c)
	}
	return calls, rows.Err()
}
