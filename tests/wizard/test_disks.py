from pools.making.finding import _of_disk
from storagemgr.virt.devices import Disk
from storagemgr.virt.signatures import examine


def disk(**fields):
    blank = examine(bytes(131072), bytes(131072))
    known = {"path": "/dev/sdb", "stable_path": "", "links": (), "size": 512, "values": {}, "finding": blank}
    return Disk(**known | fields)


def offered(**fields):
    return list(_of_disk(disk(**fields), "disk"))


def test_a_device_of_any_kind_is_offered_but_for_media():
    assert [row["text"] for row in offered(drive_type="")] == ["/dev/sdb"]
    assert [row["free"] for row in offered(drive_type="array")] == [True]
    assert offered(drive_type="cdrom") == offered(drive_type="floppy") == offered(size=0) == []


def test_a_path_of_a_multipath_device_is_not_free():
    [row] = offered(is_multipath=True)
    assert (row["free"], row["holds"]) == (False, "a path of a multipath device")
