package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ichor/scp/spool"
)

func newSpool() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "spool",
		Short: "List and export received objects",
		Long: "spool reads the received objects on disk. It takes no lock and changes nothing, so the node may be running.\n" +
			"Objects that are still being received are not shown.",
		Example: "  ichor spool list\n  ichor spool export 1.2.840.113619.2.1 --out study/",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.Help(); err != nil {
				return err
			}
			return usageError("use 'ichor spool list' or 'ichor spool export'")
		},
	}
	cmd.AddCommand(newSpoolList(), newSpoolExport())
	return cmd
}

// spoolFlags locate the node's state folder.
var spoolFlags = map[string]string{"state": "state"}

// openView opens the spool in the configured state folder for reading.
func openView(ctx context.Context, s *settings) (*spool.View, error) {
	c, err := s.load()
	if err != nil {
		return nil, err
	}
	return spool.OpenView(ctx, filepath.Join(c.State, "spool"))
}

// storedStudy is a study in the JSON output of list.
type storedStudy struct {
	StudyInstanceUID string         `json:"study"`
	Objects          int            `json:"objects"`
	Bytes            int64          `json:"bytes"`
	First            time.Time      `json:"first"` // when its first object was received
	Last             time.Time      `json:"last"`
	Instances        []storedObject `json:"instances,omitempty"` // only for studies named as arguments
}

type storedObject struct {
	SOPInstanceUID    string    `json:"instance"`
	SeriesInstanceUID string    `json:"series"`
	SOPClassUID       string    `json:"class"`
	Modality          string    `json:"modality,omitempty"`
	TransferSyntaxUID string    `json:"transfer_syntax"`
	CallingAE         string    `json:"calling_ae,omitempty"`
	Received          time.Time `json:"received"`
	Bytes             int64     `json:"bytes"`
	SHA256            string    `json:"sha256"` // of the data set
	Conflict          bool      `json:"conflict,omitempty"`
}

type damagedRecord struct {
	Segment string `json:"segment"`
	Offset  int64  `json:"offset"`
	Reason  string `json:"reason"`
}

func newSpoolList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list [STUDY...]",
		Short: "List the received studies, or the objects of the named studies",
		Long: "list prints one line per study: number of objects, size, and when the first and the last object were received. For studies\n" +
			"named by StudyInstanceUID it prints one line per object. Damaged records are listed at the end.",
		Example: "  ichor spool list\n  ichor spool list 1.2.840.113619.2.1 --json",
		Args:    cobra.ArbitraryArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	s := withSettings(cmd, spoolFlags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		v, err := openView(cmd.Context(), s)
		if err != nil {
			return err
		}
		studies, err := stored(v, args)
		if err != nil {
			return err
		}
		damaged := []damagedRecord{}
		for _, d := range v.Damaged() {
			damaged = append(damaged, damagedRecord(d))
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), struct {
				Studies []storedStudy   `json:"studies"`
				Damaged []damagedRecord `json:"damaged"`
			}{studies, damaged})
		}
		return printStored(cmd.OutOrStdout(), studies, damaged)
	}
	return cmd
}

// stored describes the named studies with their objects, or all studies without them.
func stored(v *spool.View, named []string) ([]storedStudy, error) {
	list := []storedStudy{}
	all := v.Studies()
	if len(named) > 0 {
		all = named
	}
	for _, uid := range all {
		objects := v.Study(uid)
		if len(objects) == 0 {
			return nil, notStored(uid)
		}
		study := storedStudy{StudyInstanceUID: uid, Objects: len(objects), First: objects[0].Received}
		for _, o := range objects {
			if o.Received.Before(study.First) {
				study.First = o.Received
			}
			study.Bytes += o.Size
			if o.Received.After(study.Last) { // a copy that replaced an object has its place
				study.Last = o.Received
			}
			if len(named) > 0 {
				study.Instances = append(study.Instances, storedObject{o.SOPInstanceUID, o.SeriesInstanceUID, o.SOPClassUID, o.Modality,
					o.TransferSyntaxUID, o.CallingAE, o.Received, o.Size, o.SHA256, o.Conflict})
			}
		}
		list = append(list, study)
	}
	return list, nil
}

func notStored(study string) error {
	return fmt.Errorf("study %s is not in the spool; 'ichor spool list' shows the stored studies", study)
}

func printStored(w io.Writer, studies []storedStudy, damaged []damagedRecord) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(studies) == 0 {
		fmt.Fprintln(t, "no study is stored")
	} else if studies[0].Instances == nil {
		fmt.Fprintln(t, "objects\tMB\tfirst received\tlast received\tstudy")
	}
	const clock = "2006-01-02 15:04:05"
	for _, s := range studies {
		if s.Instances == nil {
			fmt.Fprintf(t, "%d\t%.1f\t%s\t%s\t%s\n", s.Objects, float64(s.Bytes)/1e6, s.First.Local().Format(clock), s.Last.Local().Format(clock), s.StudyInstanceUID)
			continue
		}
		fmt.Fprintf(t, "study %s\nmodality\tkB\treceived\tfrom\tinstance\n", s.StudyInstanceUID)
		for _, o := range s.Instances {
			note := ""
			if o.Conflict {
				note = "\tdifferent content was stored under this UID before"
			}
			fmt.Fprintf(t, "%s\t%.1f\t%s\t%s\t%s%s\n", o.Modality, float64(o.Bytes)/1e3, o.Received.Local().Format(clock), o.CallingAE, o.SOPInstanceUID, note)
		}
	}
	for _, d := range damaged {
		fmt.Fprintf(t, "damaged: %s at byte %d: %s\n", d.Segment, d.Offset, d.Reason)
	}
	return t.Flush()
}

func newSpoolExport() *cobra.Command {
	var out string
	var all bool
	cmd := &cobra.Command{
		Use:   "export STUDY...",
		Short: "Write received objects as DICOM files",
		Long: "export writes the objects of the named studies (StudyInstanceUID) as DICOM Part 10 files, OUT/STUDY/INSTANCE.dcm, with the\n" +
			"data sets exactly as received. It verifies the digest of each object and never overwrites an existing file.",
		Example: "  ichor spool export 1.2.840.113619.2.1 --out study/\n  ichor spool export --all --out /mnt/backup/",
	}
	cmd.Flags().StringVar(&out, "out", "", "`FOLDER` to write to, created if missing (required)")
	cmd.Flags().BoolVar(&all, "all", false, "export every study")
	s := withSettings(cmd, spoolFlags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case out == "":
			return usageError("give a folder to write to: --out FOLDER")
		case all == (len(args) > 0):
			return usageError("name the studies to export, or use --all")
		}
		v, err := openView(cmd.Context(), s)
		if err != nil {
			return err
		}
		if all {
			args = v.Studies()
		}
		n, err := export(cmd.Context(), v, args, out)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d objects of %d studies written to %s\n", n, len(args), out)
		return nil
	}
	return cmd
}

// export writes the objects of studies and returns how many. It skips objects that cannot be read; the error at the end
// covers them.
func export(ctx context.Context, v *spool.View, studies []string, out string) (n int, err error) {
	var objects []spool.Object
	for _, uid := range studies {
		found := v.Study(uid)
		if len(found) == 0 {
			return 0, notStored(uid)
		}
		objects = append(objects, found...)
	}
	bar := progress(len(objects), "exporting")
	defer bar.Finish()
	var failed []error
	taken := map[string]int{}
	for _, o := range objects {
		if ctx.Err() != nil {
			return n, ctx.Err()
		}
		path := filepath.Join(out, o.StudyInstanceUID, o.SOPInstanceUID) // UIDs were checked on reception: digits and dots
		if taken[path]++; taken[path] > 1 {
			path += fmt.Sprintf("-%d", taken[path]) // different content under the same UID
		}
		r, err := v.Read(o)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", o.SOPInstanceUID, err))
			continue
		}
		err = errors.Join(writeNew(path+".dcm", r), r.Close())
		if err != nil {
			return n, err
		}
		n++
		_ = bar.Add(1) // ignore drawing errors
	}
	if len(failed) > 0 {
		return n, fmt.Errorf("%d of %d objects could not be exported; the first: %w", len(failed), len(objects), failed[0])
	}
	return n, nil
}

// writeNew writes a new file. The file gets its name only when it is complete.
func writeNew(path string, r io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("export folder: %w; choose another with --out", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s exists; choose an empty folder with --out", path)
	}
	part := strings.TrimSuffix(path, ".dcm") + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("export file: %w; choose another folder with --out", err)
	}
	_, err = io.Copy(f, r)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		os.Remove(part)
		return fmt.Errorf("exporting: %w", err)
	}
	return nil
}
