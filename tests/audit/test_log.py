from audit.verify import Code, verify


def test_an_appended_record_is_signed_before_append_returns(house):
    log = house.open()
    receipt = log.append({"event": "tool.classified"})
    report = verify(house.path, house.keys, pinned=receipt.note.encode())
    log.close()
    assert report.code is Code.VERIFIED
    assert report.signed == receipt.size == receipt.seq + 1
    assert report.root == receipt.root
