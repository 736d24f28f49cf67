package server

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"consilium/internal/catalog"
	"consilium/internal/export"
)

func TestARecordingThatCantBeOpenedKeepsNoOtherOffTheList(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "recordings"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "recordings", "c_1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r, stamp, err := manifests{dir}.Read("c_1")
	if err != nil || r.ID != "c_1" || r.Problem == "" || r.Participants == nil || stamp != (catalog.Stamp{}) {
		t.Errorf("the list has %+v, %+v, %v", r, stamp, err)
	}
}

func TestNothingIsExportedOfARecordingThatWaitsForItsKey(t *testing.T) {
	dir := t.TempDir()
	call := filepath.Join(dir, "recordings", "c_1")
	if err := os.MkdirAll(call, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(call, "manifest.json"), []byte(`{"version": 1, "call": "c_1", "state": "locked"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	maker := &exportMaker{dir: dir}
	if err := maker.Check(t.Context(), "c_1", export.Request{Kind: export.Merged, Source: "cam"}); !errors.Is(err, export.ErrSealed) {
		t.Errorf("Check returned %v", err)
	}
}
