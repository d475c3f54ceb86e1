from sailor_exp.profiles.network.link import settings_in


def test_the_variables_that_tell_nccl_and_gloo_how_to_talk_are_kept_and_no_others():
    environment = {"NCCL_IB_DISABLE": "1", "HOME": "/root", "GLOO_SOCKET_IFNAME": "eth0", "MY_NCCL_NOTES": "none"}
    assert settings_in(environment) == {"GLOO_SOCKET_IFNAME": "eth0", "NCCL_IB_DISABLE": "1"}
