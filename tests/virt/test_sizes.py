from storagemgr.virt.sizes import LARGEST, counted, total


def test_what_libvirt_subtracted_from_nothing_is_nothing():
    assert [counted(number) for number in (0, 5, LARGEST, 2**64 - 4 * 1024**2)] == [0, 5, LARGEST, 0]


def test_a_sum_stays_what_a_row_holds():
    assert total([1, 2]) == 3
    assert total([LARGEST, LARGEST]) == LARGEST
