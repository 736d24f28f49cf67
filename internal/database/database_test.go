package database

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestPartsOfOneFileMigrateByThemselves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "x.db")
	for range 2 { // the second time everything is there
		db, err := OpenWriter(path)
		if err != nil {
			t.Fatal(err)
		}
		for part, steps := range map[string][]string{
			"one": {"CREATE TABLE one (a INTEGER)"},
			"two": {"CREATE TABLE two (a INTEGER)", "ALTER TABLE two ADD COLUMN b INTEGER; INSERT INTO two VALUES (1, 2)"},
		} {
			if err := Migrate(db, part, steps); err != nil {
				t.Fatal(err)
			}
		}
		var n int
		if err := db.QueryRow("SELECT count(*) FROM two WHERE b = 2").Scan(&n); err != nil || n != 1 {
			t.Errorf("%d rows, %v: a step ran not once", n, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestAFailedStepLeavesNothing(t *testing.T) {
	db, err := OpenWriter(filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := Migrate(db, "one", []string{"CREATE TABLE one (a INTEGER)", "CREATE TABLE half (a INTEGER); nonsense"}); err == nil {
		t.Fatal("nonsense was taken")
	}
	if _, err := db.Exec("SELECT * FROM half"); err == nil {
		t.Error("half a step is left")
	}
	if err := Migrate(db, "one", []string{"CREATE TABLE one (a INTEGER)", "CREATE TABLE half (a INTEGER)"}); err != nil {
		t.Errorf("the step that was put right: %v", err)
	}
	if err := Migrate(db, "one", nil); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("a file of a newer program: %v", err)
	}
}

func TestTwoProcessesMigrateAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			db, err := OpenWriter(path)
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			if err := Migrate(db, "one", []string{"CREATE TABLE one (a INTEGER)", "CREATE TABLE two (a INTEGER)"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestAReaderCanNotWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	w, err := OpenWriter(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := Migrate(w, "one", []string{"CREATE TABLE one (a INTEGER)"}); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Exec("INSERT INTO one VALUES (1)"); err == nil {
		t.Error("a reader wrote")
	}
}
