package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"consilium/internal/problem"
)

// maxBody is the largest body of a request, in bytes.
const maxBody = 64 << 10

// decode reads one JSON object, strictly: text that is not JSON is 400, JSON
// with unknown fields or wrong types is 422.
func decode(body []byte, into any) error {
	if !json.Valid(body) {
		return problem.New(http.StatusBadRequest, problem.BadJSON, "the body is not JSON"+where(body))
	}
	if trimmed := bytes.TrimSpace(body); trimmed[0] != '{' {
		return unusable("the body must be a JSON object")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return unusable(fmt.Sprintf("field %q can't be a JSON %s", wrong.Field, wrong.Value))
	}
	if err != nil {
		return unusable(strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

// where says at which byte the text stops being JSON.
func where(body []byte) string {
	var value json.RawMessage
	syntax, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(body, &value))
	if !ok {
		return ""
	}
	return fmt.Sprintf(": %s, at byte %d", syntax.Error(), syntax.Offset)
}

// writeJSON answers with a value. Values of this package can always be
// encoded; those of others are encoded before the status is sent.
func writeJSON(w http.ResponseWriter, status int, value any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that has gone can't be told.
	_, _ = w.Write(text.Bytes())
	return nil
}

// noContent answers 204.
func noContent(w http.ResponseWriter) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}
