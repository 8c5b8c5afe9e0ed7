package cgroups

import (
	"errors"
	"maps"
	"path"
	"slices"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/systemd"

	"github.com/minikubelet/minikubelet/pkg/resources"
)

// slicesDriver is the driver that has systemd make the cgroups, as transient slices.
type slicesDriver struct{ v2 bool }

func newSystemd(v2 bool) (driver, error) {
	if !systemd.IsRunningSystemd() {
		return nil, errors.New("cannot use the systemd cgroup driver: systemd does not run here; set cgroupDriver to cgroupfs")
	}
	return slicesDriver{v2}, nil
}

func (d slicesDriver) path(n name) string { return n.systemd() }

func (d slicesDriver) unit(n name, v resources.CgroupValues) (cgroups.Manager, *cgroups.Resources, error) {
	r := &cgroups.Resources{
		CpuShares: uint64(v.CPUShares), CpuQuota: v.CPUQuota, CpuPeriod: uint64(v.CPUPeriod), Memory: v.Memory,
		SkipDevices: true, SkipFreezeOnSet: true,
	}
	if v.PIDs != 0 {
		r.PidsLimit = &v.PIDs
	}
	for _, size := range slices.Sorted(maps.Keys(v.HugePages)) {
		r.HugetlbLimit = append(r.HugetlbLimit, &cgroups.HugepageLimit{Pagesize: resources.PageSize(size), Limit: uint64(v.HugePages[size])})
	}
	parent := "-.slice"
	if dir := path.Dir(n.systemd()); dir != "/" {
		parent = path.Base(dir)
	}
	c := &cgroups.Cgroup{Name: n.slice(), Parent: parent, Systemd: true, Resources: r}
	if d.v2 {
		if v.CPUShares != 0 {
			r.CpuWeight = uint64(resources.CPUWeight(v.CPUShares))
		}
		m, err := systemd.NewUnifiedManager(c, "")
		return m, r, err
	}
	m, err := systemd.NewLegacyManager(c, nil)
	return m, r, err
}

func (d slicesDriver) create(n name, v resources.CgroupValues) error {
	m, r, err := d.unit(n, v)
	if err != nil {
		return err
	}
	if err := m.Apply(-1); err != nil {
		return err
	}
	return m.Set(r)
}

func (d slicesDriver) set(n name, v resources.CgroupValues) error {
	m, r, err := d.unit(n, v)
	if err != nil {
		return err
	}
	return m.Set(r)
}

func (d slicesDriver) release(n name) error {
	m, _, err := d.unit(n, resources.CgroupValues{})
	if err != nil {
		return err
	}
	return m.Destroy()
}
