package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"

	"consilium/internal/audit"
	"consilium/internal/config"
	"consilium/internal/s3store"
	"consilium/internal/upload"
	"consilium/recorder"
)

func recordingsFetchCommand() command {
	return command{
		name: "recordings fetch", args: "ID [--config FILE] [--KEY VALUE ...]",
		summary: "bring the files of a recording back from the object store",
		details: `  --config FILE   configuration; it names the store
  --data DIR      the server's data directory
  --dev           start from what serve --dev uses
  --KEY VALUE     any key of the configuration

Files that are here already stay as they are. Each file is compared with the
manifest before it appears. The server may be running: it plays them at once, and
keeps them for recording.s3.keep_local again.
`,
		define: func(flags *flag.FlagSet, args []string) action {
			o := &source{}
			o.define(flags)
			o.keys = config.RegisterFlags(flags, args)
			return func(ctx context.Context, p *program, args []string) error {
				if len(args) != 1 {
					return usagef("recordings fetch: want one ID; `consilium recordings list` prints them")
				}
				cfg, err := o.load(p)
				if err != nil {
					return err
				}
				return fetchRecording(ctx, p, cfg, args[0])
			}
		},
	}
}

// fetchRecording restores what is missing of a recording.
func fetchRecording(ctx context.Context, p *program, cfg config.Config, id string) error {
	if cfg.Recording.S3.Endpoint == "" {
		return errors.New("recording.s3.endpoint is not set: there is no store to fetch from")
	}
	files, err := recorder.StoredFiles(cfg.Data, id)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no manifest of recording %q in %s; docs/how-to/s3.md says how to bring back what was lost as a whole", id, cfg.Data)
	}
	if err != nil {
		return err
	}
	store, err := s3store.Open(cfg.Recording.S3)
	if err != nil {
		return err
	}
	defer store.Close()
	if err := p.noteAsOwner(ctx, cfg.Data, audit.Entry{Action: audit.Fetched, Recording: id}); err != nil {
		return fmt.Errorf("not fetched, for it can't be noted: %w", err)
	}
	err = fetchFiles(ctx, p, cfg, store, id, files)
	if err != nil {
		failed := audit.Entry{Action: audit.Fetched, Outcome: audit.Failed, Recording: id}
		err = errors.Join(err, p.note(ctx, cfg.Data, failed))
	}
	return err
}

func fetchFiles(ctx context.Context, p *program, cfg config.Config, store *s3store.Store, id string, files []recorder.StoredFile) error {
	fetched := 0
	for _, f := range files {
		if here, err := recorder.OpenStored(cfg.Data, id, f.Name); err == nil {
			_ = here.Close()
			continue
		}
		if err := fetchFile(ctx, store, cfg, id, f.Name); err != nil {
			return err
		}
		fetched++
		fmt.Fprintf(p.stdout, "%s  %s\n", f.Name, size(f.Bytes))
	}
	if fetched == 0 {
		fmt.Fprintln(p.stderr, "consilium: every file is here already")
	}
	return nil
}

func fetchFile(ctx context.Context, store *s3store.Store, cfg config.Config, id, name string) error {
	key, version, ok := upload.Located(cfg.Data, id, store.Place(), name)
	if !ok {
		key = cfg.Recording.S3.Prefix + id + "/" + name
	}
	object, err := store.Open(ctx, key, version)
	if err != nil {
		return err
	}
	defer object.Close()
	return recorder.Restore(ctx, cfg.Data, id, name, object)
}
