package api

import (
	"bytes"
	"container/list"
	"crypto/sha256"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"consilium/internal/problem"
)

// Limits of the answers kept for Idempotency-Key.
const (
	keepAnswers    = 24 * time.Hour
	maxAnswers     = 4096
	maxAnswerBytes = 16 << 20
	maxKeyBytes    = 255
)

// answerStore keeps the answers to POST requests that had an Idempotency-Key,
// the oldest first. It is safe for concurrent use.
type answerStore struct {
	mu    sync.Mutex
	byKey map[string]*list.Element // of *stored
	order *list.List
	bytes int
}

// stored is the answer to one key.
type stored struct {
	key     string
	hash    [sha256.Size]byte // of the body
	expires time.Time
	done    bool
	answer  *bufferedAnswer // when done
}

func newAnswerStore() *answerStore {
	return &answerStore{byKey: make(map[string]*list.Element), order: list.New()}
}

// bufferedAnswer is an http.ResponseWriter that keeps what it gets.
type bufferedAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (b *bufferedAnswer) Header() http.Header { return b.header }

// WriteHeader implements http.ResponseWriter.
func (b *bufferedAnswer) WriteHeader(status int) {
	if b.status == 0 {
		b.status = status
	}
}

// Write implements http.ResponseWriter.
func (b *bufferedAnswer) Write(p []byte) (int, error) {
	b.WriteHeader(http.StatusOK)
	return b.body.Write(p)
}

func (b *bufferedAnswer) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), b.header)
	w.WriteHeader(b.status)
	_, _ = w.Write(b.body.Bytes()) // a client that has gone can't be told
}

// once calls a handler once for each Idempotency-Key
// (draft-ietf-httpapi-idempotency-key-header). A repeated request gets the
// stored answer, also when that was the client's error. Errors of the server
// are not kept: trying again may help.
func (a *API) once(w http.ResponseWriter, r *request, handle handler) error {
	given := r.Header.Get("Idempotency-Key")
	if given == "" {
		return handle(w, r)
	}
	if len(given) > maxKeyBytes || strings.ContainsFunc(given, func(c rune) bool { return c < ' ' || c > '~' }) {
		return badRequest("Idempotency-Key must be 1 to 255 printable ASCII characters")
	}
	key := strings.Join([]string{r.caller.Issuer, r.caller.Subject, r.URL.Path, given}, "\x00")
	entry, answer, err := a.answers.begin(key, sha256.Sum256(r.body), time.Now())
	if err != nil {
		return err
	}
	if answer != nil {
		w.Header().Set("Idempotency-Replayed", "true")
		answer.send(w)
		return nil
	}
	answer = &bufferedAnswer{header: http.Header{}}
	defer func() { a.answers.finish(entry, answer) }() // also if the handler panics: the key must not stay taken
	if err := handle(answer, r); err != nil {
		p := Of(err)
		if p.Status >= http.StatusInternalServerError {
			answer.status = p.Status
			return err
		}
		p.Write(answer)
	}
	answer.send(w)
	return nil
}

// begin takes a key. It returns the stored answer if there is one, else the
// entry that finish completes.
func (s *answerStore) begin(key string, hash [sha256.Size]byte, now time.Time) (*stored, *bufferedAnswer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for first := s.order.Front(); first != nil && s.at(first).expires.Before(now); first = s.order.Front() {
		s.remove(first)
	}
	if element, ok := s.byKey[key]; ok {
		entry := s.at(element)
		switch {
		case entry.hash != hash:
			return nil, nil, problem.New(http.StatusUnprocessableEntity, problem.KeyReused,
				"this Idempotency-Key was used with another body")
		case !entry.done:
			return nil, nil, &problem.Problem{
				Status: http.StatusConflict, Code: problem.InProgress,
				Detail: "the first request with this Idempotency-Key is still being answered", RetryAfter: time.Second,
			}
		}
		return entry, entry.answer, nil
	}
	if s.order.Len() >= maxAnswers {
		s.remove(s.order.Front())
	}
	entry := &stored{key: key, hash: hash, expires: now.Add(keepAnswers)}
	s.byKey[key] = s.order.PushBack(entry)
	return entry, nil, nil
}

// finish keeps an answer, or frees the key if the server failed.
func (s *answerStore) finish(entry *stored, answer *bufferedAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	element, ok := s.byKey[entry.key]
	if !ok || s.at(element) != entry {
		return // pushed out meanwhile
	}
	if answer.status == 0 || answer.status >= http.StatusInternalServerError {
		s.remove(element)
		return
	}
	entry.done, entry.answer = true, answer
	s.bytes += answer.body.Len()
	for s.bytes > maxAnswerBytes && s.order.Len() > 1 {
		s.remove(s.order.Front())
	}
}

func (s *answerStore) at(element *list.Element) *stored {
	entry, _ := element.Value.(*stored)
	return entry
}

func (s *answerStore) remove(element *list.Element) {
	entry := s.at(element)
	if entry.answer != nil {
		s.bytes -= entry.answer.body.Len()
	}
	delete(s.byKey, entry.key)
	s.order.Remove(element)
}
