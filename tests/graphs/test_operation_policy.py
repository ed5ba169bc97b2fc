"""The table of operations is whole, and says of each operation what it should."""

from collections import Counter

import pytest

from tests.graphs.list_operations import registered
from yt8m_ensemble.operation_policy import ROLES, is_random, load_operation_policy, refusal

pytestmark = pytest.mark.tf

FAMILIES = {id(family): family for family in load_operation_policy().values()}.values()

# Each read in TensorFlow's kernels: it touches files, processes, the network, Python, libraries or
# state beyond one run.
_DANGEROUS = """
ReadFile WriteFile MatchingFiles Save SaveSlices Restore RestoreSlice ImmutableConst
LoadAndRemapMatrix InitializeTableFromTextFile InitializeTableFromTextFileV2
CreateSummaryFileWriter CreateSummaryDbWriter WriteSummary WriteScalarSummary WriteRawProtoSummary
ImportEvent Print PrintV2 DumpTensor DebugIdentity DebugIdentityV2 DebugIdentityV3
DebugNumericSummary CustomAggregator Copy CopyHost DecodeProtoV2 WholeFileReaderV2
TextLineReaderV2 TFRecordReaderV2 FixedLengthRecordReaderV2 LMDBReader RecordInput TFRecordDataset
TextLineDataset CSVDataset SqlDataset LMDBDataset SaveDatasetV2 LoadDataset SnapshotDatasetV2
DatasetToTFRecord CacheDatasetV2 MatchingFilesDataset GeneratorDataset DataServiceDatasetV4
RegisterDatasetV2 IteratorV2 OneShotIterator MakeIterator PyFunc PyFuncStateless EagerPyFunc
RemoteCall RpcCall RpcServer RpcServerStart RpcClient Send Recv CollectiveReduceV3 NcclAllReduce
XlaLaunch XlaCallModule XlaCustomCallV2 XlaHostCompute TPUExecute ConfigureDistributedTPU
OutfeedEnqueue InfeedDequeue WorkerHeartbeat FileSystemSetConfiguration DTensorRestoreV2
DistributedSave SummaryWriter StatsAggregatorSetSummaryWriter CalibrationStatisticsSaver
FIFOQueueV2 QueueDequeueV2 QueueEnqueueV2 Barrier Stage Unstage MapStage StackV2
ConditionalAccumulator HashTableV2 LookupTableFindV2 MutexLock DestroyResourceOp
GetSessionHandleV2 GetSessionTensor BatchFunction FixedUnigramCandidateSampler Skipgram
GenerateVocabRemapping Timestamp Abort SleepOp AssignAdd AssignSubVariableOp ScatterUpdate
ResourceScatterAdd CountUpTo Empty TemporaryVariable DecodeImage DecodeJpeg DecodePng DecodeGif
DecodeWav DecodeCompressed
"""
DANGEROUS = _DANGEROUS.split()


def test_every_registered_operation_stands_in_exactly_one_family():
    named = Counter(name for family in FAMILIES for name in family.operations)
    assert [name for name, count in named.items() if count > 1] == []
    assert set(named) == set(registered())


def test_an_operation_that_the_table_lacks_would_be_seen():
    assert {*registered(), "NewOperation"} != set(load_operation_policy())
    assert refusal("NewOperation") == "is no operation of TensorFlow 2.21"


def test_every_family_has_a_reason_of_its_own():
    reasons = [family.reason for family in FAMILIES]
    assert all(reasons)
    assert len(set(reasons)) == len(reasons)


def test_a_stateful_operation_is_refused_unless_its_family_says_why_not():
    stateful = [name for name, op in registered().items() if op.is_stateful]
    unexplained = [
        name
        for name in stateful
        if (family := load_operation_policy()[name]).verdict != "refused" and not family.stateful
    ]
    assert unexplained == []


@pytest.mark.parametrize("name", DANGEROUS)
def test_what_touches_more_than_numbers_is_refused_in_every_role(name):
    assert all(refusal(name, role) for role in ROLES)


def test_a_checkpoint_is_read_and_written_in_its_roles_only():
    for name, roles in {
        "RestoreV2": {"restore"},
        "Assign": {"restore", "initializer"},
        "AssignVariableOp": {"restore", "initializer"},
        "SaveV2": {"save"},
        "MergeV2Checkpoints": {"save"},
    }.items():
        assert {role for role in ROLES if refusal(name, role) is None} == roles, name


def test_whatever_draws_at_random_is_of_its_own_class():
    drawing = {name for name in registered() if "Random" in name or "Multinomial" in name}
    kept = {name for name in drawing if refusal(name) is None}
    assert kept == {name for name in kept if is_random(name)}
    assert is_random("RandomUniform")
    assert not is_random("MatMul")
