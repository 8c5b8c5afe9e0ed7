package plan

// Kinds are all kinds of actions there are, in the order of a pod's life. What must hold for each of them, such as that the
// agent may be killed around it, is tested over this list.
func Kinds() []Kind {
	return []Kind{
		CgroupCreate, VolumeMount, ImagePull, ImageLook, SandboxCreate, ContainerStart, PostStart, PodResize, PreStop,
		ContainerStop, ContainerRemove, SandboxStop, SandboxRemove, VolumeUnmount, CgroupRemove, DirRemove,
	}
}
