package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
)

// The measured part of a document stands between these lines.
const (
	measuredBegin = "<!-- measured: begin -->\n"
	measuredEnd   = "<!-- measured: end -->\n"
)

// replaceMeasured puts text between the two lines of a document.
func replaceMeasured(path string, text []byte) error {
	document, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read document: %w", err)
	}
	before, rest, okBegin := bytes.Cut(document, []byte(measuredBegin))
	_, after, okEnd := bytes.Cut(rest, []byte(measuredEnd))
	if !okBegin || !okEnd {
		return errors.New(path + " has no place for what is measured")
	}
	next := bytes.Join([][]byte{before, []byte(measuredBegin), text, []byte(measuredEnd), after}, nil)
	if err := os.WriteFile(path, next, 0o644); err != nil {
		return fmt.Errorf("write document: %w", err)
	}
	return nil
}
