package api

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"consilium/sfu"
)

func TestARepeatedRequestGetsTheStoredAnswer(t *testing.T) {
	s := newSite(t)
	const body = `{"participants": [{"identity": "a", "role": "doctor"}]}`
	first := s.send(t, "POST", "/v1/calls", body, "Idempotency-Key", "k1")
	again := s.send(t, "POST", "/v1/calls", body, "Idempotency-Key", "k1")
	if first.status != 201 || again.status != 201 || string(first.text) != string(again.text) {
		t.Errorf("first %d %s, again %d %s", first.status, first.text, again.status, again.text)
	}
	if again.header.Get("Location") != first.header.Get("Location") || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("header = %v", again.header)
	}
	if first.header.Get("Idempotency-Replayed") != "" {
		t.Error("the first answer says it is a replay")
	}
	other := s.send(t, "POST", "/v1/calls", body, "Idempotency-Key", "k2")
	if other.json["id"] == first.json["id"] {
		t.Error("another key got the same call")
	}
	if a := s.send(t, "POST", "/v1/calls", `{}`, "Idempotency-Key", "k1"); a.status != 422 || a.code() != "idempotency_reused" {
		t.Errorf("another body: %d %s", a.status, a.text)
	}
	admin := s.send(t, "POST", "/v1/calls", body, "Idempotency-Key", "k1", "Authorization", "Bearer "+s.token(t, "root", "*", "admin"))
	if admin.status != 201 || admin.json["id"] == first.json["id"] {
		t.Errorf("somebody else's key: %d %s", admin.status, admin.text)
	}
	if len(s.calls.calls) != 3 {
		t.Errorf("%d calls, want 3", len(s.calls.calls))
	}
	for name, key := range map[string]string{"too long": strings.Repeat("k", 256), "not ASCII": "ключ"} {
		if a := s.send(t, "POST", "/v1/calls", `{}`, "Idempotency-Key", key); a.status != 400 {
			t.Errorf("key %s: %d", name, a.status)
		}
	}
}

func TestErrorsOfTheClientAreKeptAndOfTheServerAreNot(t *testing.T) {
	s := newSite(t)
	for range 2 {
		if a := s.send(t, "POST", "/v1/calls", `{"room": "/"}`, "Idempotency-Key", "bad"); a.status != 422 || a.code() != "unusable" {
			t.Errorf("%d %s", a.status, a.text)
		}
	}
	s.calls.refuse = sfu.ErrBusy
	if a := s.send(t, "POST", "/v1/calls", `{}`, "Idempotency-Key", "busy"); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.status, a.text)
	}
	s.calls.refuse = nil
	if a := s.send(t, "POST", "/v1/calls", `{}`, "Idempotency-Key", "busy"); a.status != 201 {
		t.Errorf("trying again: %d %s", a.status, a.text)
	}
}

func TestARequestInProgressIsNotRepeated(t *testing.T) {
	s := newSite(t)
	s.calls.enter, s.calls.leave = make(chan struct{}), make(chan struct{})
	first := make(chan answer, 1)
	go func() { first <- s.send(t, "POST", "/v1/calls", `{}`, "Idempotency-Key", "k") }()
	<-s.calls.enter
	second := s.send(t, "POST", "/v1/calls", `{}`, "Idempotency-Key", "k")
	if second.status != http.StatusConflict || second.code() != "in_progress" {
		t.Errorf("%d %s", second.status, second.text)
	}
	s.calls.leave <- struct{}{}
	if a := <-first; a.status != 201 {
		t.Errorf("first: %d %s", a.status, a.text)
	}
}

func TestStoredAnswersAreBoundedInNumberSizeAndTime(t *testing.T) {
	now := time.Now()
	keep := func(store *answerStore, key string, size int, at time.Time) {
		entry, old, err := store.begin(key, sha256.Sum256(nil), at)
		if err != nil || old != nil {
			t.Fatalf("%s: %v, %v", key, old, err)
		}
		b := &bufferedAnswer{header: http.Header{}}
		_, _ = b.Write(make([]byte, size))
		store.finish(entry, b)
	}
	many := newAnswerStore()
	for i := range maxAnswers + 10 {
		keep(many, fmt.Sprint(i), 10, now)
	}
	if got := many.order.Len(); got != maxAnswers || len(many.byKey) != maxAnswers || many.bytes != 10*maxAnswers {
		t.Errorf("%d answers with %d bytes are kept", got, many.bytes)
	}
	large := newAnswerStore()
	for i := range 10 {
		keep(large, fmt.Sprint(i), maxAnswerBytes/4, now)
	}
	if large.bytes > maxAnswerBytes {
		t.Errorf("%d bytes are kept", large.bytes)
	}
	keep(many, "later", 10, now.Add(keepAnswers+time.Second))
	if got := many.order.Len(); got != 1 {
		t.Errorf("%d answers are left after their time", got)
	}
}
